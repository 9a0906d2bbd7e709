"""The host layer: what the computer beside the chip makes of a sample, once, before it enters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.hardware.conv_projection import ConvProjection
from neurokd.hardware.fields import (
    integers,
    per_neuron,
    require_range,
    require_shape,
    use_plain_numbers,
)
from neurokd.hardware.input_population import BIAS_MANTISSA_LIMITS

WEIGHT_BITS = 16
"""Bits of the host's weights, sign included."""
_EXACT = 1 << 52


@dataclass(frozen=True)
class HostLayer:
    """A linear layer in integers: float samples to the bias mantissas of the first neurons.

    Equation: m = clip( (Σ W round(x · scale) + (bias << bias_shift) + 2^(shift − 1)) >> shift ) to
    13 bits with sign: all integers are exact, and rounded once. A current beyond 13 bits saturates,
    far above a threshold or far below it.

    Shapes: ``shape`` of a sample; ``target`` of the neurons; ``weight`` (targets, sources), or of a
    convolution (C_out, C_in / groups, kH, kW), for which ``stride`` and ``padding`` are given;
    ``bias`` of ``target``.
    Raises: `CapacityError`, `ShapeMismatchError`.
    """

    name: str
    shape: tuple[int, ...]
    target: tuple[int, ...]
    weight: NDArray[np.int32]
    bias: NDArray[np.int32]
    scale: float
    shift: int
    bias_shift: int = 0
    bits: int = 8
    signed: bool = False
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"host layer {self.name!r}"
        require_shape(where, self.shape)
        require_range(where, "shift", self.shift, 1, 48)
        require_range(where, "bias_shift", self.bias_shift, 0, 48)
        require_range(where, "bits", self.bits, 1, 16)
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ShapeMismatchError(
                "the scale must be positive", where=where, found=f"{self.scale}"
            )
        weight = integers(where, "weight", self.weight)
        limit = 1 << (WEIGHT_BITS - 1)
        if weight.size:
            require_range(where, "weight", int(np.abs(weight.astype(np.int64)).max()), 0, limit)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", per_neuron(where, "bias", self.bias, self.target))
        expected: tuple[int, ...] = (math.prod(self.target), math.prod(self.shape))
        produced: tuple[int, ...] = weight.shape
        if weight.ndim == 4:
            expected, produced = self.target, self._convolution().output_shape(self.shape)
        if produced != expected:
            raise ShapeMismatchError(
                "the weight does not fit its ends",
                where=where,
                expected=str(expected),
                found=str(produced),
            )

    @property
    def multiplications(self) -> int:
        """Multiplications that the host makes for a sample."""
        positions = math.prod(self.target[1:]) if self.weight.ndim == 4 else 1
        return int(self.weight.size) * positions

    def encode(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
        """Bias mantissas (B, *target) of float samples (B, *shape).

        Raises: `UsageError` (a value outside what ``bits`` and ``scale`` allow).
        """
        values = np.rint(np.asarray(samples, dtype=np.float64) * self.scale)
        top = (1 << self.bits) - 1
        bad = ~np.isfinite(values) | (values < (-top if self.signed else 0)) | (values > top)
        if bad.any():
            low = -top / self.scale if self.signed else 0.0
            raise UsageError(
                "the data has a value that the input cannot take",
                where=f"host layer {self.name!r}",
                expected=f"{low:g} … {top / self.scale:g}",
                found=f"{float(np.asarray(samples)[bad][0]):g}",
            )
        total = self._sums(values) + (self.bias.astype(np.int64) << self.bias_shift)
        rounded = (total + (1 << (self.shift - 1))) >> self.shift
        held: NDArray[np.int32] = np.clip(rounded, *BIAS_MANTISSA_LIMITS).astype(np.int32)
        return held

    def _sums(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        # 31 bits a product: float64 sums fewer than 2²² of them exactly, in any order
        fan_in = self.weight[0].size if len(self.weight) else 0
        assert fan_in << (WEIGHT_BITS + self.bits - 1) <= _EXACT, self.name
        weight = self.weight.astype(np.float64)
        if weight.ndim == 2:
            flat = values.reshape(len(values), -1) @ weight.T
            return flat.reshape(len(values), *self.target).astype(np.int64)
        padded = np.pad(values, ((0, 0), (0, 0), *((p, p) for p in self.padding)))
        height, width = self.target[1:]
        result = np.zeros((len(values), *self.target))
        outputs, inputs = (
            n // g for n, g in zip((len(weight), self.shape[0]), (self.groups,) * 2, strict=True)
        )
        for i, j in np.ndindex(*weight.shape[2:]):
            (top, down), (left, right) = (
                (tap * d, tap * d + s * (n - 1) + 1)
                for tap, d, s, n in zip(
                    (i, j), self.dilation, self.stride, (height, width), strict=True
                )
            )
            seen = padded[:, :, top : down : self.stride[0], left : right : self.stride[1]]
            for group in range(self.groups):
                to = slice(group * outputs, (group + 1) * outputs)
                origin = slice(group * inputs, (group + 1) * inputs)
                product = np.tensordot(seen[:, origin], weight[to, :, i, j], axes=(1, 1))
                result[:, to] += np.moveaxis(product, -1, 1)
        return result.astype(np.int64)

    def _convolution(self) -> ConvProjection:
        return ConvProjection(
            self.name,
            "samples",
            "currents",
            self.weight,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )
