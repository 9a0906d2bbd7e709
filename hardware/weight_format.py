"""Weight format: the range and the grid of integers that a synapse stores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError
from neurokd.hardware.fields import integers, require_choice, require_range

WEIGHT_LIMITS: dict[str, tuple[int, int]] = {
    "mixed": (-256, 255),
    "excitatory": (0, 255),
    "inhibitory": (-255, 0),
}
WEIGHT_EXPONENT_LIMITS = (-8, 7)
MAX_DELAY = 62
"""Chip steps by which a synapse can delay beyond the one step that every delivery takes."""


def stored(weight: NDArray[np.int32], num_weight_bits: int, sign_mode: str) -> NDArray[np.int32]:
    """The integers the chip computes with: clipped to the sign mode and truncated to the bits.

    Equation: ±(|w| >> k) << k for one sign, (w >> k) << k for mixed signs,
    k = 8 − num_weight_bits + [mixed]; with mixed signs 8 bits hold even numbers from −256 to 254.
    Source: Lava `clip_weights`, `truncate_weights` (lava-nc 0.10.0).
    """
    mixed = sign_mode == "mixed"
    sign = -1 if sign_mode == "inhibitory" else 1
    # Negative weights of an inhibitory projection are truncated towards zero, as magnitudes.
    kept = sign * np.clip(weight, *WEIGHT_LIMITS[sign_mode])
    shift = 8 - num_weight_bits + int(mixed)
    return (sign * ((kept >> shift) << shift)).astype(np.int32)


def check_format(where: str, num_weight_bits: int, weight_exp: int, sign_mode: str) -> None:
    """`CapacityError` unless a synapse can store weights of this format."""
    require_choice(where, "sign mode", sign_mode, tuple(WEIGHT_LIMITS))
    require_range(where, "num_weight_bits", num_weight_bits, 1, 8)
    require_range(where, "weight_exp", weight_exp, *WEIGHT_EXPONENT_LIMITS)


def checked_delays(
    where: str, delays: NDArray[np.int32] | None, shape: tuple[int, ...]
) -> NDArray[np.int32] | None:
    """Delays of the weights' shape in 0 … `MAX_DELAY`; None where every one is 0."""
    if delays is None:
        return None
    array = integers(where, "delays", delays)
    if array.shape != shape:
        raise ShapeMismatchError(
            "the delays do not fit the weights",
            where=where,
            expected=str(shape),
            found=str(array.shape),
        )
    if array.size:
        require_range(where, "delays", int(array.min()), 0, MAX_DELAY)
        require_range(where, "delays", int(array.max()), 0, MAX_DELAY)
    return array if array.any() else None
