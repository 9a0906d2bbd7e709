"""Scale limits: how many integers a float of 1 may become before the chip's numbers run out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurokd.export.float_network import FloatPopulation, FloatProjection
from neurokd.export.float_run import Peak
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering
from neurokd.hardware.population import (
    BIAS_EXPONENT_LIMIT,
    BIAS_MANTISSA_LIMITS,
    DECAY_LIMIT,
    STATE_SHIFT,
    THRESHOLD_LIMIT,
)

CURRENT_LIMIT = 1 << 17
"""|a| from which u = a << 6 wraps around."""
CURRENT_MARGIN = 0.8
"""What calibration may use of it: other samples may excite a neuron more."""
BIAS_LIMIT = (BIAS_MANTISSA_LIMITS[1] << BIAS_EXPONENT_LIMIT) / (1 << STATE_SHIFT)
"""The largest bias, in units of a."""


def scale_limits(
    state: Lowering, population: FloatPopulation, peak: Peak | None
) -> dict[str, float]:
    """The largest A that each limit of the chip allows.

    current: the weights' sums, were all sources to send their largest message at once, prove
    |a| < 2^17; calibration, where it allows more, gives it with a margin. membrane: v above its
    lower saturation on calibration. An accumulator's threshold must be out of reach by proof.
    """
    above, below = _reach(state, population)
    reach = float(np.maximum(above, below).max(initial=0.0))
    limits = {"current": 0.99 * divide(CURRENT_LIMIT, reach / max(1.0 - population.keep, 1e-12))}
    if peak is not None:
        seen = CURRENT_MARGIN * divide(CURRENT_LIMIT, peak.current)
        limits["current"] = max(limits["current"], seen)
        if population.kind == "spiking":
            limits["membrane"] = divide(CURRENT_LIMIT - 1, peak.membrane)
    limits["bias"] = divide(BIAS_LIMIT, float(np.abs(population.bias).max(initial=0.0)))
    if population.kind == "spiking":
        limits["threshold"] = THRESHOLD_LIMIT / population.threshold
    else:
        limits["proof"] = divide(THRESHOLD_LIMIT, _accumulated(state, population, above, below))
    return limits


def accumulated_bound(
    state: Lowering,
    population: FloatPopulation,
    weights: Mapping[str, NDArray[np.int32]],
    scale: float,
) -> int:
    """The largest |v| that an accumulator of these integers can reach from its start step on.

    Equation: max over neurons of G_u 64 Σ_j max(±W_j, 0) m_j ± G_b bias, with m_j the largest
    message of source j and G what `_growth` gives. What came before its first input is forgotten at
    the start step, whatever it was.

    ``weights``: of each incoming projection, their exponents included.
    """
    rows = math.prod(population.shape)
    above, below = np.zeros(rows), np.zeros(rows)
    for projection in state.floats.incoming(population.name):
        integers = replace(projection, weight=weights[projection.name].astype(np.float64))
        up, down = _one_sided_sums(state, integers, population)
        largest = state.largest_message(projection.source)
        above += up * largest
        below += down * largest
    # half a unit of rounding at the largest exponent covers any rounding of the bias
    bias = scale * 64 * population.bias.ravel()
    slack = np.where(bias != 0, float(1 << BIAS_EXPONENT_LIMIT), 0.0)
    of_current, of_bias = _growth(state, population)
    above, below, bias = 64 * of_current * above, 64 * of_current * below, of_bias * bias
    worst = np.maximum(above + bias, below - bias) + of_bias * slack
    return math.ceil(float(worst.max(initial=0.0)))


def divide(limit: float, magnitude: float) -> float:
    """limit / magnitude; without a magnitude there is no limit."""
    return limit / magnitude if magnitude > 0 else math.inf


def _one_sided_sums(
    state: Lowering, projection: FloatProjection, population: FloatPopulation
) -> tuple[Floats, Floats]:
    """How far messages of magnitude 1 can push each neuron up, and down."""
    up, down = projection.one_sided_sums(population.shape)
    entrance = state.options.input
    if entrance.signed and projection.source == entrance.name:
        # a negative message turns the sign of its weight
        return up + down, up + down
    return up, down


def _growth(state: Lowering, population: FloatPopulation) -> tuple[float, float]:
    """What v has become, after the network's steps, of a current and of a bias of 1 at each step.

    Equation: u ← keep u + 1, v ← β v + u; b ← β b + 1, with the chip's 12-bit decays, whose
    rounding only lowers magnitudes.
    """
    depths = state.depths
    steps = state.options.steps + depths[state.floats.output] - depths[population.name]
    keep = round(4096 * population.keep) / 4096
    beta = 1.0 - min(DECAY_LIMIT, round(4096 * (1.0 - population.beta))) / 4096
    u = v = b = 0.0
    for _ in range(steps):
        u = keep * u + 1
        v = beta * v + u
        b = beta * b + 1
    return v, b


def _accumulated(
    state: Lowering, population: FloatPopulation, above: Floats, below: Floats
) -> float:
    of_current, of_bias = _growth(state, population)
    above, below, bias = of_current * above, of_current * below, of_bias * population.bias.ravel()
    return float(np.maximum(above + bias, below - bias).max(initial=0.0))


def _reach(state: Lowering, population: FloatPopulation) -> tuple[Floats, Floats]:
    """For each neuron the largest and smallest current, in floats, that its sources can cause."""
    rows = math.prod(population.shape)
    above, below = np.zeros(rows), np.zeros(rows)
    for projection in state.floats.incoming(population.name):
        up, down = _one_sided_sums(state, projection, population)
        source = projection.source
        largest = state.largest_message(source) / state.message_scale(source)
        above += up * largest
        below += down * largest
    return above, below
