"""The time loop of LIF neurons in torch operations, forward and backward: for any device.

On the way back the membranes are computed again from x. Many steps are taken in segments: only the
states in front of each are kept, and one segment's membranes are in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from neurokd.neurons.surrogate import Surrogate

_ONE_SEGMENT = 16
"""Steps up to which the membranes of all are kept, so that they are computed once more only."""


def spikes(x: Tensor, steps: int, alpha: Tensor | None, beta: Tensor, threshold: Tensor) -> Tensor:
    """Spikes of neurons that start at rest.

    Shapes: x (T, B, N) or (1, B, N), the same at each step; parameters (1,) or (N,); → (T, B, N).
    """
    out = x.new_empty(steps, *x.shape[1:])
    for t, (v, _) in enumerate(_membranes(x, 0, steps, None, None, alpha, beta, threshold)):
        torch.gt(v, threshold, out=out[t])
    return out


def _membranes(
    x: Tensor,
    first: int,
    last: int,
    v: Tensor | None,
    i: Tensor | None,
    alpha: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Membranes before their reset and currents of the steps ``first`` … ``last`` − 1, in turn.

    Equation: i ← α i + x, or i = x; v ← β v + i; v ← 0 after v > threshold. ``v`` and ``i`` are
    the states in front of them, None at rest.
    """
    kept = torch.zeros_like(x[0]) if v is None else v
    current = torch.zeros_like(x[0]) if i is None else i
    for t in range(first, last):
        arriving = x[t % len(x)]
        current = arriving if alpha is None else current * alpha + arriving
        membrane = kept.mul(beta).add_(current)
        yield membrane, current
        kept = membrane.masked_fill(membrane > threshold, 0.0)


def backward(
    x: Tensor,
    upstream: Tensor,
    steps: int,
    alpha: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    surrogate: Surrogate,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients to x, and those ``wanted`` of α, β and threshold for each neuron.

    Equation: see `lif_kernel.backward`.

    Shapes: x and upstream (T, B, N), or (1, B, N), the same at each step; parameters (1,) or (N,);
    → (T, B, N), and (B, N) for a parameter.
    """
    length = steps if steps <= _ONE_SEGMENT else math.isqrt(steps - 1) + 1
    edges = [*range(0, steps, length), steps]
    states: list[tuple[Tensor | None, Tensor | None]] = [(None, None)]
    passed = _membranes(x, 0, edges[-2], None, None, alpha, beta, threshold)
    for t, (membrane, current) in enumerate(passed, start=1):
        if t % length == 0:
            states.append((membrane.masked_fill(membrane > threshold, 0.0), current))
    to_x = x.new_empty(steps, *x.shape[1:])
    to_alpha, to_beta, to_threshold = (
        torch.zeros_like(x[0]) if needed else None for needed in wanted
    )
    after = torch.zeros_like(x[0])
    to_current = torch.zeros_like(after)
    for first, last in reversed(list(zip(edges, edges[1:], strict=False))):
        v, i = states.pop()
        kept = list(_membranes(x, first, last, v, i, alpha, beta, threshold))
        for t in range(last - 1, first - 1, -1):
            membrane, _ = kept.pop()
            distance = membrane - threshold
            given = upstream[t % len(upstream)]
            through = surrogate.derivative(distance).mul_(given - after * membrane)
            torch.add(after.masked_fill_(distance > 0, 0.0), through, out=to_x[t])
            if to_threshold is not None:
                to_threshold -= through
            if to_beta is not None and t > 0:
                to_beta += to_x[t] * _reset(kept, v, threshold)
            after = to_x[t] * beta
            if alpha is not None:
                to_current = to_x[t].add_(to_current * alpha)
                if to_alpha is not None and t > 0:
                    before = kept[-1][1] if kept else i
                    assert before is not None
                    to_alpha += to_current * before
    return to_x, to_alpha, to_beta, to_threshold


def _reset(kept: list[tuple[Tensor, Tensor]], v: Tensor | None, threshold: Tensor) -> Tensor:
    """The membrane after the last of these steps, or in front of their segment."""
    if kept:
        return kept[-1][0].masked_fill(kept[-1][0] > threshold, 0.0)
    assert v is not None
    return v
