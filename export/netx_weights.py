"""Weights of a netx file in the format that lava-dl gives the chip's synapses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError
from neurokd.export.netx_layer import Integers
from neurokd.hardware.weight_format import stored

SignMode = Literal["mixed", "excitatory", "inhibitory"]
_MIXED_LIMITS = (-256, 254)


@dataclass(frozen=True)
class SynapseFormat:
    """Weights as stored: ``weight`` · 2^``weight_exp`` is what the file says."""

    weight: NDArray[np.int32]
    weight_exp: int
    num_weight_bits: int

    def part(self, columns: slice) -> SynapseFormat:
        """Some columns in the format of all."""
        return SynapseFormat(self.weight[:, columns], self.weight_exp, self.num_weight_bits)

    @property
    def sign_mode(self) -> SignMode:
        """What Lava makes of the signs; a weight of 0 is of either."""
        if int(self.weight.min()) >= 0:
            return "excitatory"
        return "inhibitory" if int(self.weight.max()) <= 0 else "mixed"

    @property
    def changed(self) -> int:
        """How many weights the chip stores with another value than the file gives them."""
        kept = stored(self.weight, self.num_weight_bits, self.sign_mode)
        return int((kept != self.weight).sum())


def synapse_format(weight: Integers, where: str) -> SynapseFormat:
    """Shift weights up as far as the synapse has room, and count the bits that then are used.

    With s bits of room and z zero bits at the end of every weight of the file::

        weight ← weight << s,  weight_exp = −s,  num_weight_bits = 8 − s − z (+ 1 for mixed signs)

    z counts to 8. Weights of mixed signs are clipped to −256 … 254 first. The room is
    ⌊log₂ 255/max⌋ for weights ≥ 0, ⌊log₂ −256/min⌋ for weights < 0, else
    ⌊log₂ min(127/max, −128/min)⌋ + 1.

    Shapes: weight (target size, source size).
    Raises: `CapacityError` for weights that no synapse holds: beyond its range, or with mixed signs
    odd and too large to be shifted.
    Source: `lava.lib.dl.netx.utils.optimize_weight_bits` (lava-dl 0.6.0).
    """
    low, high = int(weight.min()), int(weight.max())
    mixed = low < 0 <= high
    if mixed and (low < _MIXED_LIMITS[0] or high > _MIXED_LIMITS[1]):
        weight = np.clip(weight, *_MIXED_LIMITS)
        low, high = int(weight.min()), int(weight.max())
    if low == high == 0:
        return SynapseFormat(weight.astype(np.int32), 0, 8)
    if mixed:
        room = min(127 / high if high else math.inf, -128 / low)
        shift = math.floor(math.log2(room)) + 1
    else:
        shift = math.floor(math.log2(255 / high if low >= 0 else -256 / low))
    bits = 8 - shift - _zero_bits(weight) + int(mixed)
    if shift < 0:
        raise CapacityError(
            "the weights do not fit the chip's synapses",
            where=where,
            expected="0 … 255, −256 … −1, or −256 … 254 of mixed signs",
            found=f"{low} … {high}",
            remedy="train with quantised weights (lava.lib.dl.slayer.utils.quantize)",
        )
    if not 1 <= bits <= 8:
        raise CapacityError(
            "the weights cannot be stored in 8 bits",
            where=where,
            expected="even weights, or all within ±127, where signs are mixed",
            found=f"{low} … {high} in {bits} bits",
            remedy="quantise the weights in steps of 2, as lava-dl's own blocks do",
        )
    return SynapseFormat((weight << shift).astype(np.int32), -shift, bits)


def _zero_bits(weight: Integers) -> int:
    """Zero bits at the end of every weight, at most 8."""
    used = int(np.bitwise_or.reduce(weight, axis=None))
    return min(8, (used & -used).bit_length() - 1)
