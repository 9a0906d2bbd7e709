"""Convolutional projections: synapses that share a kernel over all positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError
from neurokd.hardware.fields import integers, is_integer, require_range, use_plain_numbers
from neurokd.hardware.weight_format import WEIGHT_EXPONENT_LIMITS


@dataclass(frozen=True)
class ConvProjection:
    """Convolutional synapses: a = cross-correlation of the spikes with weight << weight_exp.

    The source is padded with zeros. Lava applies neither ``weight_exp`` nor ``num_weight_bits`` to
    a convolution, so it is given the shifted weights, and only the sum wraps at 24 bits,
    ((Σ + 2²³) mod 2²⁴) − 2²³; the chip shifts after the sum, which is the same for exponents ≥ 0.
    A sum pool is a convolution with a group for each channel and weights of 1 (`sum_pool`).

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
    weight_exp: int = 0
    recurrent: bool = False

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"projection {self.name!r}"
        weight = integers(where, "weight", self.weight)
        if weight.ndim != 4 or not weight.size:
            raise ShapeMismatchError(
                "a convolution weight has four axes",
                where=where,
                expected="(C_out, C_in / groups, kH, kW), all ≥ 1",
                found=str(weight.shape),
            )
        require_range(where, "groups", self.groups, 1, weight.shape[0])
        if weight.shape[0] % self.groups:
            raise ShapeMismatchError(
                "groups must divide the output channels",
                where=where,
                expected=f"a divisor of {weight.shape[0]}",
                found=str(self.groups),
            )
        require_range(where, "num_weight_bits", self.num_weight_bits, 1, 8)
        require_range(where, "weight_exp", self.weight_exp, 0, WEIGHT_EXPONENT_LIMITS[1])
        for field, low in (("stride", 1), ("padding", 0), ("dilation", 1)):
            pair = getattr(self, field)
            paired = isinstance(pair, tuple) and len(pair) == 2
            if not paired or not all(is_integer(n) and n >= low for n in pair):
                raise ShapeMismatchError(
                    f"{field} is not a pair of integers ≥ {low}",
                    where=where,
                    expected="(height, width)",
                    found=str(pair),
                )
        largest = int(np.abs(weight.astype(np.int64)).max(initial=0))
        require_range(where, "weight << weight_exp", largest << self.weight_exp, 0, (1 << 31) - 1)
        object.__setattr__(self, "weight", weight)

    @property
    def effective_weight(self) -> NDArray[np.int32]:
        """The integers the chip computes with, exponent included."""
        return self.weight << self.weight_exp

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


def sum_pool(
    name: str,
    source: str,
    target: str,
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] | None = None,
    padding: tuple[int, int] = (0, 0),
    weight: int = 1,
) -> ConvProjection:
    """Sum pooling: each channel by itself, every weight of the window the same.

    Shapes: source (channels, H, W). ``stride`` None is the kernel's size.
    """
    return ConvProjection(
        name=name,
        source=source,
        target=target,
        weight=np.full((channels, 1, *kernel), weight, dtype=np.int32),
        stride=stride or kernel,
        padding=padding,
        groups=channels,
    )
