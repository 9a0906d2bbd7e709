"""Linear layers that skip the zeros of a spike train while they are trained."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from neurokd.neurons.event_vectors import MASK_BITS, WIDTH
from neurokd.neurons.threads import in_threads

SPARSE = 0.4
"""The share of inputs other than zero from which on a dense product takes less time."""
_ALONE = 2**22
"""Multiplications of a dense product for which skipping zeros does not pay."""


def event_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer whose products with a sparse input leave out the zeros, both ways.

    Equation: y = W x + b; ∂L/∂W = Σ g xᵀ, both sums over x ≠ 0 only; ∂L/∂x = Wᵀ g. These are the
    sums of `F.linear` but for those terms and the order of the others, as long as W is finite.

    On a CPU, while gradients are recorded, in float32, with inputs and outputs that divide by 64,
    where 40 % of the inputs at most differ from zero; else it is `F.linear`. The bits do not
    depend on the number of threads.

    Shapes: x (B, inputs), weight (outputs, inputs), bias (outputs,) → (B, outputs).
    """
    if not (torch.is_grad_enabled() and _suits(x, weight)):
        return F.linear(x, weight, bias)
    y: Tensor = _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def _suits(x: Tensor, weight: Tensor) -> bool:
    if type(x) is not Tensor or x.ndim != 2 or not x.is_contiguous():
        return False
    if any(t.device.type != "cpu" or t.dtype != torch.float32 for t in (x, weight)):
        return False
    outputs, inputs = weight.shape
    if x.shape[1] != inputs or inputs % MASK_BITS or outputs % WIDTH:
        return False
    if len(x) * weight.numel() < _ALONE or torch._C._is_any_autocast_enabled():
        return False
    from neurokd.neurons import event_kernel  # numba is slow to import

    return bool(event_kernel.nonzero(_flat(x)) <= SPARSE * x.numel())


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        from neurokd.neurons import event_kernel

        ctx.save_for_backward(x, weight)
        (rows, inputs), outputs = x.shape, len(weight)
        y = x.new_zeros(rows, outputs) if bias is None else bias.expand(rows, outputs).clone()
        blocks = weight.unflatten(0, (outputs // WIDTH, WIDTH)).transpose(1, 2)
        arrays = _flat(x), inputs, _flat(blocks), outputs
        out = _flat(y)
        in_threads(
            rows,
            event_kernel.ROWS,
            lambda start, stop: event_kernel.product(*arrays, start, stop, out),
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from neurokd.neurons import event_kernel

        x, weight = ctx.saved_tensors
        given = gradients[0]
        to_x, to_weight, to_bias = ctx.needs_input_grad
        found: Tensor | None = None
        if to_weight:
            (rows, inputs), outputs = x.shape, len(weight)
            across = x.new_zeros(inputs, outputs)
            arrays = _flat(x), rows, inputs, _flat(given), outputs
            out = _flat(across)
            in_threads(
                inputs,
                MASK_BITS,
                lambda start, stop: event_kernel.transposed_product(*arrays, start, stop, out),
            )
            found = across.t().contiguous()
        return given @ weight if to_x else None, found, given.sum(0) if to_bias else None


def _flat(tensor: Tensor) -> Any:
    """The values as one line of an array, of the same memory where they lie in order."""
    return tensor.detach().contiguous().numpy().reshape(-1)
