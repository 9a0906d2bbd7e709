"""Surrogate gradient: what stands in for the derivative of the spike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class _Triangle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * torch.clamp(1.0 - distance.abs(), min=0.0)


def triangle() -> Callable[[Tensor], Tensor]:
    """Spike s = 1[d > 0] of the distance d = v − threshold, with ∂s/∂d := max(0, 1 − |d|).

    Shapes: any. Source: the neuron of CKDSNN (arXiv 2511.06902), as in Rathi & Roy 2021.
    """
    return _Triangle.apply
