"""What a projection delivers: exact integer sums of the messages of many steps and samples.

The seam for compiled kernels: `Synapses` is called with the messages (N, *source shape) of N
(sample, step) pairs and answers with one `Delivery` for each delay of its synapses. A kernel takes
the place of a `synapses_linear` map, or of the whole call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurokd.errors import CapacityError
from neurokd.hardware.exactness import INT32_LIMIT, exact_dtype
from neurokd.hardware.population import Population
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)
from neurokd.hardware.synapses_linear import Kernel, Linear, Matrix, SparseMatrix

_CONV_WRAP = 1 << 23
_HALF_BITS = 16
_INT64_SAFE = 1 << 62


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Matrix products in the full float type: no TF32, no bfloat16, no autocast, no gradients."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Delivery:
    """What arrives 1 + ``delay`` steps after its messages were sent.

    Shapes: ``a`` (N, target size) int32; ``lost`` bool, where the sum or its shift left its range
    and was wrapped (None: it cannot).
    """

    delay: int
    a: Tensor
    lost: Tensor | None


class Synapses:
    """A projection on a device, ready to be applied to many steps and samples at once.

    Dense, sparse: a = int32(Σ w s) shifted by ``weight_exp`` (left; right with arithmetic floor),
    for each delay by itself. Dense with delays differs as Lava does: each product wraps at 32 bits,
    their sum only after the shift. Convolution: S = Σ w s with zero padding,
    a = ((S + 2²³) mod 2²⁴) − 2²³.

    ``bound``: the largest |a| that can arrive in a step.

    Source: Lava `PyDenseModelBitAcc`, `PyDelayDenseModelBitAcc`, `PySparseModelBitAcc`,
    `PyDelaySparseModelBitAcc`, `PyConvModelFixed` (lava-nc 0.10.0).
    """

    def __init__(
        self, projection: Projection, source: Population, target: Population, device: torch.device
    ) -> None:
        self.projection = projection
        self._largest = source.max_message
        self._graded = source.max_message > 1
        self._slots = _slots(projection, source, target, device)
        self._exponent = 0 if isinstance(projection, ConvProjection) else projection.weight_exp
        self.bound = min(
            sum(self._slot_bound(linear) for _, linear in self._slots),
            _CONV_WRAP if isinstance(projection, ConvProjection) else INT32_LIMIT,
        )

    def __call__(self, messages: Tensor) -> list[Delivery]:
        """What ``messages`` (N, *source shape) make the target receive, by delay."""
        largest = self._largest
        if self._graded and messages.numel():
            low, high = messages.aminmax()
            largest = max(-int(low), int(high))
        deliver = self._conv if isinstance(self.projection, ConvProjection) else self._matrix
        return [
            Delivery(delay, *deliver(linear, messages, largest)) for delay, linear in self._slots
        ]

    def _matrix(
        self, linear: Linear, messages: Tensor, largest: int
    ) -> tuple[Tensor, Tensor | None]:
        exponent = self._exponent
        sums = self._sums(linear, messages, largest)
        if (linear.reach * largest) << max(exponent, 0) < INT32_LIMIT:
            sums = sums.to(torch.int32)
            return sums << exponent if exponent > 0 else sums >> -exponent, None
        delayed = self.projection.delays is not None  # type: ignore[union-attr]
        if exponent < 0 and delayed and isinstance(linear, Matrix):
            wide = sums
            if linear.largest_weight * largest >= INT32_LIMIT:
                wide = linear.wrapped_products(messages)
            a = (wide >> -exponent).to(torch.int32)
            return a, (wide != sums) | (a != wide >> -exponent)
        narrow = sums.to(torch.int32)
        a = narrow << exponent if exponent > 0 else narrow >> -exponent
        lost = narrow != sums
        if exponent > 0:
            lost |= (a >> exponent) != narrow
        return a, lost

    def _conv(self, linear: Linear, messages: Tensor, largest: int) -> tuple[Tensor, Tensor | None]:
        sums = self._sums(linear, messages, largest)
        if linear.reach * largest < _CONV_WRAP:
            return sums, None
        if sums.dtype == torch.int64 and bool((sums.abs() >= INT32_LIMIT).any()):
            raise CapacityError(
                "a convolution's sum left 32 bits, where Lava's own result is undefined",
                where=f"projection {self.projection.name!r}",
                expected="|Σ w s| < 2^31",
                found=str(int(sums.abs().max())),
                remedy="scale the weights or the input messages down",
            )
        a = sums.to(torch.int32)
        wrapped = ((a + _CONV_WRAP) & (2 * _CONV_WRAP - 1)) - _CONV_WRAP
        return wrapped, wrapped != a

    def _sums(self, linear: Linear, messages: Tensor, largest: int) -> Tensor:
        """Σ w s as integers, int32 where they are proven to fit, else int64.

        Where no float type holds them, messages are split in two halves of 16 bits.
        """
        bound = linear.reach * largest
        name = exact_dtype(bound)
        if name is not None:
            sums = linear(messages, getattr(torch, name))
            return sums.to(torch.int32 if bound < INT32_LIMIT else torch.int64)
        halves = exact_dtype(linear.reach << _HALF_BITS)
        # Lava's convolution adds in float64: beyond it, its own sums are no longer exact
        if halves is None or bound >= _INT64_SAFE or isinstance(linear, Kernel):
            raise CapacityError(
                "this projection's sums can grow too large to be computed exactly",
                where=f"projection {self.projection.name!r}",
                expected="Σ|w|·message < 2^53",
                found=f"2^{bound.bit_length() - 1} or more",
                remedy="use smaller weights or messages of fewer bits",
            )
        dtype = getattr(torch, halves)
        high = linear(messages >> _HALF_BITS, dtype).to(torch.int64)
        low = linear(messages & ((1 << _HALF_BITS) - 1), dtype).to(torch.int64)
        return (high << _HALF_BITS) + low

    def _slot_bound(self, linear: Linear) -> int:
        bound, exponent = linear.reach * self._largest, self._exponent
        # One more than the shifted bound: the floor of a negative sum.
        return bound << exponent if exponent >= 0 else (bound >> -exponent) + 1


def _slots(
    projection: Projection, source: Population, target: Population, device: torch.device
) -> list[tuple[int, Linear]]:
    """The synapses of each delay."""
    if isinstance(projection, ConvProjection):
        return [(0, Kernel(projection, source.shape, device))]
    weight, delays = projection.effective_weight, projection.delays
    if isinstance(projection, DenseProjection):
        if delays is None:
            return [(0, Matrix(weight, device))]
        return [
            (int(d), Matrix(np.where(delays == d, weight, 0), device)) for d in np.unique(delays)
        ]
    return _sparse_slots(projection, (target.size, source.size), device)


def _sparse_slots(
    projection: SparseProjection, shape: tuple[int, int], device: torch.device
) -> list[tuple[int, Linear]]:
    delays = projection.delays if projection.delays is not None else np.zeros_like(projection.rows)
    slots: list[tuple[int, Linear]] = []
    for delay in np.unique(delays):
        here = delays == delay
        matrix = SparseMatrix(
            projection.rows[here],
            projection.columns[here],
            projection.effective_weight[here],
            shape,
            device,
        )
        slots.append((int(delay), matrix))
    return slots
