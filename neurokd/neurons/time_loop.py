"""LIF neurons over all time steps as one differentiable operation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neurokd.errors import ShapeMismatchError
from neurokd.neurons import lif_steps
from neurokd.neurons.lif_compiled import compiled_backward, compiled_forward
from neurokd.neurons.surrogate import Surrogate

_COMPILED = (torch.float32, torch.float64)
_HALF = (torch.bfloat16, torch.float16)


def spike_train(
    x: Tensor,
    beta: Tensor,
    threshold: Tensor,
    surrogate: Surrogate,
    alpha: Tensor | None = None,
) -> Tensor:
    """Spikes of LIF neurons that start at rest, differentiable in x, β, threshold and α.

    Equation: i ← α i + x (i = x without ``alpha``); v ← β v + i; s = 1[v > threshold];
    v ← (1 − s) v, whose s has the surrogate's gradient, too. α and β are clamped to [0, 1].

    Only x is kept for the way back, on which the membranes are computed again. A CPU has a compiled
    loop; a GPU with Triton has kernels in float32; all else takes torch's operations, which go back
    through many steps in segments. Each gives the same bits at every run. Half precision is
    computed in float32, as a membrane of 8 bits would spike elsewhere, and returned as it came.

    Shapes: x (T, B, *shape) → (T, B, *shape), laid out in memory as x is; parameters broadcast to
    (1, *shape). Units: v, i and threshold in units of x. ``threshold`` ≥ 0.
    Raises: `ShapeMismatchError`.
    """
    if x.ndim < 2:
        raise ShapeMismatchError(
            "spike trains have time and batch in front",
            where="spike_train",
            expected="(T, B, *shape)",
            found=str(tuple(x.shape)),
        )
    if x.numel() == 0:
        return torch.zeros_like(x)
    if x.dtype in _HALF:
        return spike_train(x.float(), beta, threshold, surrogate, alpha).to(x.dtype)
    clamped = None if alpha is None else _fitting("alpha", alpha.clamp(0, 1), x)
    spikes: Tensor = _TimeLoop.apply(  # type: ignore[no-untyped-call]
        x,
        clamped,
        _fitting("beta", beta.clamp(0, 1), x),
        _fitting("threshold", threshold, x),
        surrogate,
    )
    return spikes


def _fitting(name: str, parameter: Tensor, x: Tensor) -> Tensor:
    """A parameter in the type of x, () or (1, *shape)."""
    if parameter.numel() == 1:
        return parameter.reshape(()).to(x.dtype)
    shape = torch.Size((1, *x.shape[2:]))
    try:
        return parameter.expand(shape).to(x.dtype)
    except RuntimeError as error:
        raise ShapeMismatchError(
            f"{name} does not fit the neurons",
            where="spike_train",
            expected=f"a shape that broadcasts to {tuple(shape)}",
            found=str(tuple(parameter.shape)),
        ) from error


@dataclass(frozen=True)
class _Layout:
    """How (T, B, *shape) lies in memory: the axes behind time, outermost first."""

    shape: tuple[int, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, x: Tensor) -> _Layout:
        """The axes as x has them if it is dense with time and batch outermost, else in order."""
        sample = tuple(x.shape[1:])
        long = [axis for axis in range(len(sample)) if sample[axis] > 1]
        long.sort(key=lambda axis: -x.stride(axis + 1))
        order = (*long, *(axis for axis in range(len(sample)) if axis not in long))
        if (sample[0] > 1 and order[0] != 0) or not x[0].permute(order).is_contiguous():
            order = tuple(range(len(sample)))
        return cls(sample, order)

    def flat(self, x: Tensor) -> Tensor:
        """(T, M) in the order of memory; (1, M) if x is the same memory at each step."""
        once = x[:1] if x.stride(0) == 0 else x
        laid = once.permute(0, *(axis + 1 for axis in self.order)).contiguous()
        return laid.view(len(once), -1)

    def back(self, flat: Tensor) -> Tensor:
        """(T, *shape) of (T, M), without a copy."""
        laid = flat.view(len(flat), *(self.shape[axis] for axis in self.order))
        return laid.permute(0, *(self.order.index(axis) + 1 for axis in range(len(self.order))))

    def parameter(self, values: Tensor) -> Tensor:
        """(1,) of (), (M / B,) of (1, *shape)."""
        return values.reshape(1) if values.ndim == 0 else values.permute(self.order).reshape(-1)

    def total(self, flat: Tensor | None, shape: torch.Size) -> Tensor | None:
        """A parameter's gradient, of each neuron's (M,)."""
        if flat is None:
            return None
        return flat.sum() if not shape else self.back(flat.view(1, -1))[0].sum_to_size(shape)


class _TimeLoop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        alpha: Tensor | None,
        beta: Tensor,
        threshold: Tensor,
        surrogate: Surrogate,
    ) -> Tensor:
        layout, steps = _Layout.of(x), len(x)
        flat = layout.flat(x)
        parameters = [None if p is None else layout.parameter(p) for p in (alpha, beta, threshold)]
        ctx.save_for_backward(flat, *parameters)
        ctx.layout, ctx.steps, ctx.surrogate = layout, steps, surrogate
        ctx.shapes = [None if p is None else p.shape for p in (alpha, beta, threshold)]
        a, b, th = parameters
        assert b is not None and th is not None
        if _is_compiled(flat):
            return layout.back(compiled_forward(flat, steps, a, b, th))
        if _is_fused(flat):
            from neurokd.neurons.lif_triton import fused_forward  # where Triton is

            return layout.back(fused_forward(flat, steps, a, b, th))
        spikes = lif_steps.spikes(_by_neuron(flat, layout), steps, a, b, th)
        return layout.back(spikes.view(steps, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, a, b, th = ctx.saved_tensors
        layout: _Layout = ctx.layout
        upstream = layout.flat(gradients[0])
        wanted: tuple[bool, bool, bool] = tuple(ctx.needs_input_grad[1:4])
        rest = ctx.steps, a, b, th, ctx.surrogate, wanted
        if _is_compiled(flat):
            found = compiled_backward(flat, upstream, *rest)
        elif _is_fused(flat):
            from neurokd.neurons.lif_triton import fused_backward

            found = fused_backward(flat, upstream, *rest)
        else:
            given = _by_neuron(upstream, layout)
            found = lif_steps.backward(_by_neuron(flat, layout), given, *rest)
        to_x, *to_parameters = found
        totals = [
            layout.total(None if g is None else g.reshape(-1), shape)
            for g, shape in zip(to_parameters, ctx.shapes, strict=True)
        ]
        return layout.back(to_x.view(ctx.steps, -1)), *totals, None


def _is_compiled(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in _COMPILED


def _is_fused(x: Tensor) -> bool:
    return x.device.type == "cuda" and x.dtype == torch.float32 and _has_triton()


@lru_cache
def _has_triton() -> bool:
    """Whether there is a Triton that the kernels were tried with."""
    return find_spec("triton") is not None and int(version("triton").partition(".")[0]) >= 3


def _by_neuron(flat: Tensor, layout: _Layout) -> Tensor:
    """(T, B, N) of (T, M)."""
    return flat.view(len(flat), layout.shape[0], math.prod(layout.shape[1:]))
