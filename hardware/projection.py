"""Projections: the synapses between two populations, dense or convolutional, as the chip has them.

Every projection delivers what it accumulated one step later: a spike sent at step t changes its
target at step t + 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError, ShapeMismatchError
from neurokd.hardware.population import integers

WEIGHT_LIMITS: dict[str, tuple[int, int]] = {
    "mixed": (-256, 255),
    "excitatory": (0, 255),
    "inhibitory": (-255, 0),
}


@dataclass(frozen=True)
class DenseProjection:
    """All-to-all synapses: a = (W s) shifted by ``weight_exp``.

    What the chip stores of W is ``effective_weight``: clipped to the sign mode's range and
    truncated to ``num_weight_bits`` (with mixed signs 8 bits hold even numbers from −256 to 254).

    Shapes: ``weight`` (target size, source size) integers, both sides flattened in C order.
    Source: Lava `PyDenseModelBitAcc`, `clip_weights`, `truncate_weights` (lava-nc 0.10.0).
    """

    name: str
    source: str
    target: str
    weight: NDArray[np.int32]
    weight_exp: int = 0
    num_weight_bits: int = 8
    sign_mode: Literal["mixed", "excitatory", "inhibitory"] = "mixed"

    def __post_init__(self) -> None:
        weight = integers(f"projection {self.name!r}", "weight", self.weight)
        if weight.ndim != 2:
            raise ShapeMismatchError(
                "a dense weight has two axes",
                where=f"projection {self.name!r}",
                expected="(target size, source size)",
                found=str(weight.shape),
            )
        if self.sign_mode not in WEIGHT_LIMITS:
            raise CapacityError(
                "unknown sign mode",
                where=f"projection {self.name!r}",
                expected=" | ".join(WEIGHT_LIMITS),
                found=repr(self.sign_mode),
            )
        _require_weight_bits(self.name, self.num_weight_bits)
        if not -8 <= self.weight_exp <= 7:
            raise CapacityError(
                "weight_exp is out of range",
                where=f"projection {self.name!r}",
                expected="-8 … 7",
                found=str(self.weight_exp),
            )
        object.__setattr__(self, "weight", weight)

    @property
    def effective_weight(self) -> NDArray[np.int32]:
        """The integers the chip computes with, before the exponent."""
        mixed = self.sign_mode == "mixed"
        sign = -1 if self.sign_mode == "inhibitory" else 1
        # Negative weights of an inhibitory projection are truncated towards zero, as magnitudes.
        stored = sign * np.clip(self.weight, *WEIGHT_LIMITS[self.sign_mode])
        shift = 8 - self.num_weight_bits + int(mixed)
        return (sign * ((stored >> shift) << shift)).astype(np.int32)

    @property
    def synapses(self) -> int:
        """Number of stored synapses, zero weights included."""
        return int(self.weight.size)


@dataclass(frozen=True)
class ConvProjection:
    """Convolutional synapses: a = cross-correlation of the spikes with ``weight``, zero padding.

    Lava applies neither ``weight_exp`` nor ``num_weight_bits`` to a convolution: weights here are
    what is computed with, and only the sum wraps at 24 bits, ((Σ + 2²³) mod 2²⁴) − 2²³.

    Shapes: ``weight`` (C_out, C_in / groups, kH, kW) integers, as in torch; the source is
    (C_in, H, W), the target (C_out, H_out, W_out).
    Source: Lava `PyConvModelFixed` (lava-nc 0.10.0), which flips nothing once its weights are
    laid out as the worker does it.
    """

    name: str
    source: str
    target: str
    weight: NDArray[np.int32]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    num_weight_bits: int = 8

    def __post_init__(self) -> None:
        weight = integers(f"projection {self.name!r}", "weight", self.weight)
        if weight.ndim != 4:
            raise ShapeMismatchError(
                "a convolution weight has four axes",
                where=f"projection {self.name!r}",
                expected="(C_out, C_in / groups, kH, kW)",
                found=str(weight.shape),
            )
        if self.groups < 1 or weight.shape[0] % self.groups:
            raise ShapeMismatchError(
                "groups must divide the output channels",
                where=f"projection {self.name!r}",
                expected=f"a divisor of {weight.shape[0]}",
                found=str(self.groups),
            )
        _require_weight_bits(self.name, self.num_weight_bits)
        for field, low in (("stride", 1), ("padding", 0), ("dilation", 1)):
            pair = getattr(self, field)
            if len(pair) != 2 or min(pair) < low:
                raise ShapeMismatchError(
                    f"{field} is not a pair of integers ≥ {low}",
                    where=f"projection {self.name!r}",
                    found=str(pair),
                )
        object.__setattr__(self, "weight", weight)

    @property
    def effective_weight(self) -> NDArray[np.int32]:
        """The integers the chip computes with."""
        return self.weight

    def output_shape(self, source_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C_out, H_out, W_out) for a source of (C_in, H, W)."""
        channels = self.weight.shape[1] * self.groups
        if len(source_shape) != 3 or source_shape[0] != channels:
            raise ShapeMismatchError(
                "the source does not fit the convolution",
                where=f"projection {self.name!r}",
                expected=f"({channels}, H, W)",
                found=str(source_shape),
            )
        spatial = tuple(
            (size + 2 * pad - dil * (kernel - 1) - 1) // stride + 1
            for size, pad, dil, kernel, stride in zip(
                source_shape[1:],
                self.padding,
                self.dilation,
                self.weight.shape[2:],
                self.stride,
                strict=True,
            )
        )
        if min(spatial) < 1:
            raise ShapeMismatchError(
                "the kernel is larger than its padded source",
                where=f"projection {self.name!r}",
                found=f"output {spatial} from source {source_shape}",
            )
        return (self.weight.shape[0], *spatial)

    @property
    def synapses(self) -> int:
        """Number of stored weights; every position shares them."""
        return int(self.weight.size)


Projection = DenseProjection | ConvProjection


def check_projection(
    projection: Projection, source_shape: tuple[int, ...], target_shape: tuple[int, ...]
) -> None:
    """Raise `ShapeMismatchError` unless the projection maps the source's shape to the target's."""
    if isinstance(projection, DenseProjection):
        expected = (math.prod(target_shape), math.prod(source_shape))
        if projection.weight.shape != expected:
            raise ShapeMismatchError(
                "the weight does not fit its populations",
                where=f"projection {projection.name!r}",
                expected=str(expected),
                found=str(projection.weight.shape),
            )
        return
    produced = projection.output_shape(source_shape)
    if produced != target_shape:
        raise ShapeMismatchError(
            "the convolution does not produce its target's shape",
            where=f"projection {projection.name!r}",
            expected=str(target_shape),
            found=str(produced),
        )


def _require_weight_bits(name: str, bits: int) -> None:
    if not 1 <= bits <= 8:
        raise CapacityError(
            "num_weight_bits is out of range",
            where=f"projection {name!r}",
            expected="1 … 8",
            found=str(bits),
        )
