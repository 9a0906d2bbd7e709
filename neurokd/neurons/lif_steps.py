"""The time loop of LIF neurons in torch operations, forward and backward: for any device."""

from __future__ import annotations

import torch
from torch import Tensor

from neurokd.neurons.surrogate import Surrogate


def integrate(
    x: Tensor, steps: int, alpha: Tensor | None, beta: Tensor, threshold: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Membranes before their reset, and currents of the synapses if ``alpha`` is given.

    Equation: i ← α i + x, or i = x; v ← β v + i; v ← 0 after v > threshold.

    Shapes: x (T, B, N) or (1, B, N), the same at each step; parameters (1,) or (N,); → (T, B, N).
    """
    membranes = x.new_empty(steps, *x.shape[1:])
    currents = None if alpha is None else torch.empty_like(membranes)
    kept = torch.zeros_like(membranes[0])
    current = torch.zeros_like(kept)
    for t, v in enumerate(membranes):
        arriving = x[t % len(x)]
        if alpha is None or currents is None:
            current = arriving
        else:
            current = torch.add(current.mul(alpha), arriving, out=currents[t])
        torch.mul(kept, beta, out=v).add_(current)
        kept = v.masked_fill(v > threshold, 0.0)
    return membranes, currents


def backward(
    membranes: Tensor,
    currents: Tensor | None,
    upstream: Tensor,
    alpha: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    surrogate: Surrogate,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients to x, and those ``wanted`` of α, β and threshold for each neuron.

    Equation: see `lif_kernel.backward`.

    Shapes: (T, B, N), parameters (1,) or (N,); → (T, B, N), and (B, N) for a parameter.
    """
    to_x = torch.empty_like(membranes)
    to_alpha, to_beta, to_threshold = (
        torch.zeros_like(upstream[0]) if needed else None for needed in wanted
    )
    after = torch.zeros_like(upstream[0])
    to_current = torch.zeros_like(after)
    for t in range(len(upstream) - 1, -1, -1):
        distance = membranes[t] - threshold
        through = surrogate.derivative(distance).mul_(upstream[t] - after * membranes[t])
        torch.add(after.masked_fill_(distance > 0, 0.0), through, out=to_x[t])
        if to_threshold is not None:
            to_threshold -= through
        if to_beta is not None and t > 0:
            before = membranes[t - 1]
            to_beta += to_x[t] * before.masked_fill(before > threshold, 0.0)
        after = to_x[t] * beta
        if currents is not None:
            assert alpha is not None
            to_current = to_x[t].add_(to_current * alpha)
            if to_alpha is not None and t > 0:
                to_alpha += to_current * currents[t - 1]
    return to_x, to_alpha, to_beta, to_threshold
