"""The time loop of LIF neurons, forward and backward, compiled for one processor core.

Neurons are taken in blocks whose states stay in the nearest cache while time passes. Each inner
loop is over neurons and of one kind, so that it becomes vector instructions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_compiler import compiled

TRIANGLE, ATAN, FAST_SIGMOID, SIGMOID = range(4)

Floats = NDArray[Any]


@compiled
def _spread(values: Floats, start: int, out: Floats) -> None:
    """The parameters of ``out.size`` neurons from neuron ``start`` of the batch on."""
    if values.size == 1:
        out[:] = values[0]
    else:
        at = start % values.size
        for i in range(out.size):
            out[i] = values[at]
            at += 1
            if at == values.size:
                at = 0


@compiled
def forward(
    x: Floats,
    steps: int,
    alpha: Floats,
    beta: Floats,
    threshold: Floats,
    start: int,
    stop: int,
    block: int,
    spikes: Floats,
) -> None:
    """Spikes (T, M) of the neurons start … stop − 1 of x (T, M), or (1, M), the same at each step.

    Equation: i ← α i + x, or i = x if ``alpha`` is empty; v ← β v + i; s = 1[v > threshold];
    v ← 0 if s. ``alpha``, ``beta``, ``threshold``: one value, or one for each of the M / B neurons.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    moving = x.shape[0] > 1
    filtered = alpha.size > 0
    # not rows of one array, which numba takes to be strided
    beta_of, threshold_of = np.empty(block, x.dtype), np.empty(block, x.dtype)
    alpha_of, i_of = np.empty(block, x.dtype), np.empty(block, x.dtype)
    v_of = np.empty(block, x.dtype)
    for first in range(start, stop, block):
        size = min(block, stop - first)
        b, th, a = beta_of[:size], threshold_of[:size], alpha_of[:size]
        i, v = i_of[:size], v_of[:size]
        _spread(beta, first, b)
        _spread(threshold, first, th)
        if filtered:
            _spread(alpha, first, a)
        i[:] = 0
        v[:] = 0
        for t in range(steps):
            current = x[t if moving else 0, first : first + size]
            out = spikes[t, first : first + size]
            if filtered:
                for n in range(size):
                    i[n] = a[n] * i[n] + current[n]
                    u = b[n] * v[n] + i[n]
                    fired = u > th[n]
                    out[n] = one if fired else zero
                    v[n] = zero if fired else u
            else:
                for n in range(size):
                    u = b[n] * v[n] + current[n]
                    fired = u > th[n]
                    out[n] = one if fired else zero
                    v[n] = zero if fired else u


@compiled
def _filter(current: Floats, a: Floats, i: Floats, out: Floats) -> None:
    """A step of the synapses, whose currents are kept in ``out``, too."""
    for n in range(out.size):
        total = a[n] * i[n] + current[n]
        i[n] = total
        out[n] = total


@compiled
def _integrate(current: Floats, b: Floats, th: Floats, v: Floats, out: Floats) -> None:
    """A step of the membranes; ``out`` is before their reset."""
    zero = out.dtype.type(0)
    for n in range(out.size):
        u = b[n] * v[n] + current[n]
        out[n] = u
        v[n] = zero if u > th[n] else u


@compiled
def _derivative(kind: int, slope: Any, d: Any) -> Any:
    """The surrogate's h(d); see `neurokd.neurons.surrogate`. All numbers of one type."""
    zero, one = type(d)(0), type(d)(1)
    if kind == TRIANGLE:
        h = slope - slope * slope * abs(d)
        return h if h > zero else zero
    if kind == ATAN:
        wide = slope * type(d)(math.pi / 2) * d
        return slope * type(d)(0.5) / (one + wide * wide)
    if kind == FAST_SIGMOID:
        wide = one + slope * abs(d)
        return one / (wide * wide)
    decay = np.exp(-slope * abs(d))
    return slope * decay / ((one + decay) * (one + decay))


@compiled
def _to_membrane(h: Any, v: Any, threshold: Any, given: Any, after: Any) -> Any:
    """g_v of one neuron."""
    through = h * (given - after * v)
    return (type(v)(0) if v > threshold else after) + through


@compiled
def _step_back(
    kind: int,
    slope: Any,
    v: Floats,
    th: Floats,
    b: Floats,
    given: Floats,
    g: Floats,
    out: Floats,
) -> None:
    """g_v of one step's neurons in ``out``, and in ``g`` the gradient for the step before."""
    if kind == TRIANGLE:  # a loop each: a choice within the loop would be no vector instruction
        for n in range(v.size):
            h = _derivative(TRIANGLE, slope, v[n] - th[n])
            out[n] = _to_membrane(h, v[n], th[n], given[n], g[n])
            g[n] = b[n] * out[n]
    elif kind == ATAN:
        for n in range(v.size):
            h = _derivative(ATAN, slope, v[n] - th[n])
            out[n] = _to_membrane(h, v[n], th[n], given[n], g[n])
            g[n] = b[n] * out[n]
    elif kind == FAST_SIGMOID:
        for n in range(v.size):
            h = _derivative(FAST_SIGMOID, slope, v[n] - th[n])
            out[n] = _to_membrane(h, v[n], th[n], given[n], g[n])
            g[n] = b[n] * out[n]
    else:
        for n in range(v.size):
            h = _derivative(SIGMOID, slope, v[n] - th[n])
            out[n] = _to_membrane(h, v[n], th[n], given[n], g[n])
            g[n] = b[n] * out[n]


@compiled
def backward(
    x: Floats,
    upstream: Floats,
    steps: int,
    alpha: Floats,
    beta: Floats,
    threshold: Floats,
    kind: int,
    slope: Any,
    start: int,
    stop: int,
    block: int,
    to_x: Floats,
    to_alpha: Floats,
    to_beta: Floats,
    to_threshold: Floats,
) -> None:
    """Gradients to x (T, M) and, where these are not empty, to each neuron's parameters (M).

    ``x`` and ``upstream``, which is ∂L/∂s: (T, M), or (1, M), the same at each step.

    Equation: with g the gradient to the membrane after the reset, from the step after:
    g_s = ∂L/∂s − g v; g_v = (1 − s) g + g_s h(v − threshold); g ← β g_v; g_i ← g_v + α g_i;
    ∂L/∂x = g_i; ∂L/∂β = Σ g_v v₋₁; ∂L/∂α = Σ g_i i₋₁; ∂L/∂threshold = −Σ g_s h. The membranes
    are computed again from x, which takes less time than keeping them in memory.
    """
    zero = x.dtype.type(0)
    moving, changing = x.shape[0] > 1, upstream.shape[0] > 1
    filtered = alpha.size > 0
    beta_of, threshold_of = np.empty(block, x.dtype), np.empty(block, x.dtype)
    alpha_of, gi_of = np.empty(block, x.dtype), np.empty(block, x.dtype)
    g_of = np.empty(block, x.dtype)
    v_of = np.empty((steps, block), x.dtype)  # before the reset
    i_of = np.empty((steps if filtered else 1, block), x.dtype)
    for first in range(start, stop, block):
        size = min(block, stop - first)
        b, th, a = beta_of[:size], threshold_of[:size], alpha_of[:size]
        g, gi = g_of[:size], gi_of[:size]
        _spread(beta, first, b)
        _spread(threshold, first, th)
        if filtered:
            _spread(alpha, first, a)
        g[:] = 0  # the membrane, going forward
        gi[:] = 0
        for t in range(steps):
            current = x[t if moving else 0, first : first + size]
            if filtered:
                _filter(current, a, gi, i_of[t, :size])
                _integrate(i_of[t, :size], b, th, g, v_of[t, :size])
            else:
                _integrate(current, b, th, g, v_of[t, :size])
        g[:] = 0
        gi[:] = 0
        for step in range(steps):
            t = steps - 1 - step
            v = v_of[t, :size]
            given = upstream[t if changing else 0, first : first + size]
            out = to_x[t, first : first + size]
            if to_threshold.size:
                total = to_threshold[first : first + size]
                for n in range(size):
                    h = _derivative(kind, slope, v[n] - th[n])
                    total[n] = total[n] - h * (given[n] - g[n] * v[n])
            _step_back(kind, slope, v, th, b, given, g, out)
            if to_beta.size and t > 0:
                total = to_beta[first : first + size]
                before = v_of[t - 1, :size]
                for n in range(size):
                    u = before[n]
                    total[n] = total[n] + out[n] * (zero if u > th[n] else u)
            if filtered:
                for n in range(size):
                    gi[n] = out[n] + a[n] * gi[n]
                    out[n] = gi[n]
                if to_alpha.size and t > 0:
                    total = to_alpha[first : first + size]
                    i = i_of[t - 1, :size]
                    for n in range(size):
                        total[n] = total[n] + gi[n] * i[n]
