"""The time loop of LIF neurons on a GPU: a kernel forward and two backward, for all time steps.

Triton's interpreter has run these kernels on a CPU, where they give the bits of `lif_steps`; no GPU
has run them yet.
"""

# Triton takes annotations of a kernel for its own.
# mypy: disallow_untyped_defs=False, disallow_incomplete_defs=False
# mypy: disallow_untyped_decorators=False

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neurokd.neurons.surrogate import Surrogate

_BLOCK = 256
"""Neurons of a program, whose states stay in registers while time passes."""


@triton.jit
def _integrate(
    x, x_step, steps, alpha, beta, threshold, count, per_sample, spikes, membranes, currents,
    BLOCK: tl.constexpr, FILTERED: tl.constexpr, SPIKES: tl.constexpr, CURRENTS: tl.constexpr,
):  # fmt: skip
    """Spikes alone, or membranes before their reset and, if they are wanted, currents."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = at < count
    a = tl.load(alpha + at % per_sample, mask=exists, other=0.0)
    b = tl.load(beta + at % per_sample, mask=exists, other=0.0)
    th = tl.load(threshold + at % per_sample, mask=exists, other=0.0)
    i = tl.zeros((BLOCK,), b.dtype)
    v = tl.zeros((BLOCK,), b.dtype)
    arriving, spike, membrane, synapse = x + at, spikes + at, membranes + at, currents + at
    for _ in range(steps):
        current = tl.load(arriving, mask=exists, other=0.0)
        if FILTERED:
            i = a * i + current
            current = i
        v = b * v + current
        if SPIKES:
            tl.store(spike, tl.where(v > th, 1.0, 0.0), mask=exists)
        else:
            tl.store(membrane, v, mask=exists)
        if CURRENTS:
            tl.store(synapse, i, mask=exists)
        v = tl.where(v > th, 0.0, v)
        arriving += x_step
        spike += count
        membrane += count
        synapse += count


@triton.jit
def _backward(
    given, given_step, steps, alpha, beta, threshold, count, per_sample,
    membranes, currents, to_x, to_alpha, to_beta, to_threshold,
    BLOCK: tl.constexpr, FILTERED: tl.constexpr, FORM: tl.constexpr, SLOPE: tl.constexpr,
    TO_ALPHA: tl.constexpr, TO_BETA: tl.constexpr, TO_THRESHOLD: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = at < count
    a = tl.load(alpha + at % per_sample, mask=exists, other=0.0)
    b = tl.load(beta + at % per_sample, mask=exists, other=0.0)
    th = tl.load(threshold + at % per_sample, mask=exists, other=0.0)
    after = tl.zeros((BLOCK,), b.dtype)
    to_current = tl.zeros((BLOCK,), b.dtype)
    total_alpha = tl.zeros((BLOCK,), b.dtype)
    total_beta = tl.zeros((BLOCK,), b.dtype)
    total_threshold = tl.zeros((BLOCK,), b.dtype)
    upstream, membrane, synapse, out = given + at, membranes + at, currents + at, to_x + at
    for _ in range(steps - 1):  # on to the last step; a product might not fit 32 bits
        upstream += given_step
        membrane += count
        synapse += count
        out += count
    back = tl.zeros((BLOCK,), tl.int32)
    for _ in range(steps):
        back += 1
        earlier = exists & (back < steps)
        v = tl.load(membrane, mask=exists, other=0.0)
        distance = v - th
        if FORM == 0:
            through = tl.abs(distance) * (-SLOPE * SLOPE) + SLOPE
            through = tl.where(through > 0.0, through, 0.0)
        elif FORM == 1:
            wide = distance * (1.5707963267948966 * SLOPE)
            through = 1.0 / (wide * wide + 1.0) * (SLOPE / 2)
        elif FORM == 2:
            wide = tl.abs(distance) * SLOPE + 1.0
            through = 1.0 / (wide * wide)
        else:
            decay = tl.exp(tl.abs(distance) * -SLOPE)
            through = decay * SLOPE / ((decay + 1.0) * (decay + 1.0))
        through *= tl.load(upstream, mask=exists, other=0.0) - after * v
        to_membrane = tl.where(v > th, 0.0, after) + through
        if TO_THRESHOLD:
            total_threshold -= through
        if TO_BETA:
            u = tl.load(membrane - count, mask=earlier, other=0.0)
            total_beta += to_membrane * tl.where(u > th, 0.0, u)
        after = to_membrane * b
        if FILTERED:
            to_current = to_membrane + to_current * a
            if TO_ALPHA:
                i = tl.load(synapse - count, mask=earlier, other=0.0)
                total_alpha += to_current * i
            tl.store(out, to_current, mask=exists)
        else:
            tl.store(out, to_membrane, mask=exists)
        upstream -= given_step
        membrane -= count
        synapse -= count
        out -= count
    if TO_ALPHA:
        tl.store(to_alpha + at, total_alpha, mask=exists)
    if TO_BETA:
        tl.store(to_beta + at, total_beta, mask=exists)
    if TO_THRESHOLD:
        tl.store(to_threshold + at, total_threshold, mask=exists)


def fused_forward(
    x: Tensor, steps: int, alpha: Tensor | None, beta: Tensor, threshold: Tensor
) -> Tensor:
    """Spikes (T, M) of x, (T, M) or (1, M); parameters (1,) or (M / B,). All contiguous float32.

    Equation: see `lif_kernel.forward`.
    """
    spikes = x.new_empty(steps, x.shape[1])
    neurons = _neurons(alpha, beta, threshold, x.shape[1])
    constants = {"FILTERED": alpha is not None, "SPIKES": True, "CURRENTS": False}
    # a kernel has an address for each argument, though it may be of another one
    _launch(
        _integrate, x.shape[1], x, _stride(x), steps, *neurons, spikes, spikes, spikes, **constants
    )
    return spikes


def fused_backward(
    x: Tensor,
    upstream: Tensor,
    steps: int,
    alpha: Tensor | None,
    beta: Tensor,
    threshold: Tensor,
    surrogate: Surrogate,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients to x (T, M), and those ``wanted`` of α, β and threshold for each of M neurons.

    ``upstream``: (T, M) or (1, M), the same at each step. Equation: see `lif_kernel.backward`.
    """
    count, filtered = x.shape[1], alpha is not None
    neurons = _neurons(alpha, beta, threshold, count)
    membranes, to_x = x.new_empty(steps, count), x.new_empty(steps, count)
    currents = x.new_empty(steps, count) if wanted[0] else membranes
    constants: dict[str, Any] = {"FILTERED": filtered, "SPIKES": False, "CURRENTS": wanted[0]}
    given = x, _stride(x), steps, *neurons
    _launch(_integrate, count, *given, membranes, membranes, currents, **constants)
    totals = [x.new_empty(count) if needed else None for needed in wanted]
    constants = {
        "FILTERED": filtered,
        "FORM": ("triangle", "atan", "fast_sigmoid", "sigmoid").index(surrogate.form),
        "SLOPE": surrogate.slope,
        "TO_ALPHA": wanted[0],
        "TO_BETA": wanted[1],
        "TO_THRESHOLD": wanted[2],
    }
    places = [to_x if total is None else total for total in totals]
    states = membranes, currents, to_x
    given = upstream, _stride(upstream), steps, *neurons
    _launch(_backward, count, *given, *states, *places, **constants)
    return to_x, totals[0], totals[1], totals[2]


def _neurons(
    alpha: Tensor | None, beta: Tensor, threshold: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """α, β and threshold with as many values each; how many neurons, and how many of these."""
    given = [beta if alpha is None else alpha, beta, threshold]
    a, b, th = (each.contiguous() for each in torch.broadcast_tensors(*given))
    return a, b, th, count, len(b)


def _stride(values: Tensor) -> int:
    """Distance of one step from the next; 0 where all are the same."""
    return values.shape[1] if len(values) > 1 else 0


def _launch(kernel: Any, count: int, *arguments: Any, **constants: Any) -> None:
    """Run a kernel for ``count`` neurons.

    Products and sums are rounded one by one, as on a CPU, so that spikes fall alike.
    """
    programs = (-(-count // _BLOCK),)
    with torch.cuda.device_of(arguments[0]):
        kernel[programs](*arguments, BLOCK=_BLOCK, enable_fp_fusion=False, **constants)
