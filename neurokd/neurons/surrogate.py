"""Surrogate gradients: what stands in for the derivative of the spike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Form = Literal["triangle", "atan", "fast_sigmoid", "sigmoid"]


@dataclass(frozen=True)
class Surrogate:
    """Spike s = 1[d > 0] of the distance d = v − threshold, with ∂s/∂d := h(d).

    Equation: by ``form``, with k = ``slope``, triangle h = max(0, k − k²|d|), atan
    h = k/2 / (1 + (π k d / 2)²), fast_sigmoid h = 1 / (1 + k|d|)², sigmoid h = k σ(k d) σ(−k d).

    Shapes: any. Also what snnTorch's neurons take as ``spike_grad``.
    Source: snnTorch 1.0.0 for all but the triangle; that is CKDSNN's (arXiv 2511.06902) at k = 1.
    """

    form: Form
    slope: float

    def __call__(self, distance: Tensor) -> Tensor:
        spikes: Tensor = _Spike.apply(distance, self)  # type: ignore[no-untyped-call]
        return spikes

    def derivative(self, distance: Tensor) -> Tensor:
        """h(d), in a new tensor."""
        k = self.slope
        if self.form == "triangle":
            return distance.abs().mul_(-k * k).add_(k).clamp_(min=0.0)
        if self.form == "atan":
            return distance.mul(math.pi / 2 * k).square_().add_(1.0).reciprocal_().mul_(k / 2)
        if self.form == "fast_sigmoid":
            return distance.abs().mul_(k).add_(1.0).square_().reciprocal_()
        decay = distance.abs().mul_(-k).exp_()
        return decay.mul(k).div_(decay.add_(1.0).square_())


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, distance: Tensor, surrogate: Surrogate
    ) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.surrogate = surrogate  # type: ignore[attr-defined]
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor
    ) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors  # type: ignore[attr-defined]
        surrogate: Surrogate = ctx.surrogate  # type: ignore[attr-defined]
        return gradients[0] * surrogate.derivative(distance), None


def triangle(slope: float = 1.0) -> Surrogate:
    """A triangle of height ``slope`` and half-width 1 / ``slope``; its area is 1."""
    return Surrogate("triangle", slope)


def atan(slope: float = 2.0) -> Surrogate:
    """snnTorch's `surrogate.atan`, the default of its neurons."""
    return Surrogate("atan", slope)


def fast_sigmoid(slope: float = 25.0) -> Surrogate:
    """snnTorch's `surrogate.fast_sigmoid`."""
    return Surrogate("fast_sigmoid", slope)


def sigmoid(slope: float = 25.0) -> Surrogate:
    """snnTorch's `surrogate.sigmoid`, written so that no slope overflows."""
    return Surrogate("sigmoid", slope)
