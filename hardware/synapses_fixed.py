"""What a projection delivers: exact integer sums, one matrix product over steps and samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from neurokd.errors import CapacityError
from neurokd.hardware.exactness import INT32_LIMIT, accumulation_bound, exact_dtype
from neurokd.hardware.population import Population
from neurokd.hardware.projection import ConvProjection, DenseProjection, Projection

_CONV_WRAP = 1 << 23
_COLUMNS_AT_ONCE = 1 << 19
"""Elements of the unfolded input held at a time: few enough for a cache, enough for a GEMM."""


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


class Synapses:
    """A projection on a device, ready to be applied to many steps and samples at once.

    Dense: a = int32(W s) shifted by ``weight_exp`` (left; right with arithmetic floor), int32.
    Convolution: S = Σ w s with zero padding, a = ((S + 2²³) mod 2²⁴) − 2²³. Both are GEMMs, a
    convolution after unfolding its input, since other convolution algorithms (Winograd, FFT) round.

    ``bound``: the largest |a| it can deliver. ``can_wrap``: whether a sum can exceed its range.

    Raises: `CapacityError` when the sums cannot be computed exactly.
    Source: Lava `PyDenseModelBitAcc`, `PyConvModelFixed` (lava-nc 0.10.0).
    """

    def __init__(self, projection: Projection, source: Population, device: torch.device) -> None:
        self.projection = projection
        self._source_shape = source.shape
        self._sum_bound = accumulation_bound(projection, source.max_message)
        where = f"projection {projection.name!r}"
        self._dtype = getattr(torch, exact_dtype(self._sum_bound, where))
        weight = torch.from_numpy(projection.effective_weight).to(device, self._dtype)
        if isinstance(projection, DenseProjection):
            exponent = projection.weight_exp
            shifted = self._sum_bound << exponent if exponent > 0 else self._sum_bound >> -exponent
            # One more than the shifted bound: the floor of a negative sum.
            self.bound = min(shifted + 1, INT32_LIMIT)
            self.can_wrap = max(self._sum_bound, shifted) >= INT32_LIMIT
            self._weight = weight.T.contiguous()
        else:
            self.bound = min(self._sum_bound, _CONV_WRAP)
            self.can_wrap = self._sum_bound >= _CONV_WRAP
            self._weight = weight.reshape(
                projection.groups, weight.shape[0] // projection.groups, -1
            )

    def __call__(self, messages: Tensor) -> tuple[Tensor, Tensor | None]:
        """What ``messages`` (N, *source shape) make the target receive, one step later.

        Returns a (N, target size) int32, and where a sum wrapped (bool; None if it cannot).
        """
        if isinstance(self.projection, DenseProjection):
            return self._dense(messages, self.projection.weight_exp)
        return self._conv(messages, self.projection)

    def _integers(self, sums: Tensor) -> Tensor:
        return sums.to(torch.int32 if self._sum_bound < INT32_LIMIT else torch.int64)

    def _dense(self, messages: Tensor, exponent: int) -> tuple[Tensor, Tensor | None]:
        sums = self._integers(messages.flatten(1).to(self._dtype) @ self._weight)
        a = sums.to(torch.int32)
        shifted = a << exponent if exponent > 0 else a >> -exponent
        if not self.can_wrap:
            return shifted, None
        wrapped = a != sums
        if exponent > 0:
            wrapped |= (shifted >> exponent) != a
        return shifted, wrapped

    def _conv(self, messages: Tensor, conv: ConvProjection) -> tuple[Tensor, Tensor | None]:
        _, height, width = conv.output_shape(self._source_shape)
        column = conv.weight[0].size * conv.groups * height * width
        at_once = max(1, _COLUMNS_AT_ONCE // column)
        chunks = [
            self._integers(self._conv_sums(messages[start : start + at_once], conv)).flatten(1)
            for start in range(0, len(messages), at_once)
        ]
        sums = torch.cat(chunks)
        if not self.can_wrap:
            return sums, None
        if sums.dtype == torch.int64 and bool((sums.abs() >= INT32_LIMIT).any()):
            raise CapacityError(
                "a convolution's sum left 32 bits, where Lava's own result is undefined",
                where=f"projection {conv.name!r}",
                expected="|Σ w s| < 2^31",
                found=str(int(sums.abs().max())),
                remedy="scale the weights or the input messages down",
            )
        a = sums.to(torch.int32)
        wrapped = ((a + _CONV_WRAP) & (2 * _CONV_WRAP - 1)) - _CONV_WRAP
        return wrapped, wrapped != a

    def _conv_sums(self, messages: Tensor, conv: ConvProjection) -> Tensor:
        columns = F.unfold(
            messages.to(self._dtype),
            kernel_size=(conv.weight.shape[2], conv.weight.shape[3]),
            dilation=conv.dilation,
            padding=conv.padding,
            stride=conv.stride,
        )
        grouped = columns.reshape(len(messages), conv.groups, -1, columns.shape[-1])
        return torch.matmul(self._weight, grouped)
