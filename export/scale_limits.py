"""Scale limits: how many integers a float of 1 may become before the chip's numbers run out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurokd.export.float_network import FloatPopulation
from neurokd.export.float_run import Peak
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering
from neurokd.hardware.population import (
    BIAS_EXPONENT_LIMIT,
    BIAS_MANTISSA_LIMITS,
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
    """The largest |v| that an accumulator of these integers can reach in the network's steps.

    ``weights``: of each incoming projection, their exponents included.
    """
    rows = math.prod(population.shape)
    above, below = np.zeros(rows), np.zeros(rows)
    for projection in state.floats.incoming(population.name):
        integers = replace(projection, weight=weights[projection.name].astype(np.float64))
        up, down = integers.one_sided_sums(population.shape)
        largest = state.largest_message(projection.source)
        above += up * largest
        below += down * largest
    # half a unit of rounding at the largest exponent covers any rounding of the bias
    bias = scale * 64 * population.bias.ravel()
    slack = np.where(bias != 0, float(1 << BIAS_EXPONENT_LIMIT), 0.0)
    per_step = np.maximum(64 * above + bias, 64 * below - bias) + slack
    return int(math.ceil(_steps(state, population) * float(per_step.max(initial=0.0))))


def divide(limit: float, magnitude: float) -> float:
    """limit / magnitude; without a magnitude there is no limit."""
    return limit / magnitude if magnitude > 0 else math.inf


def _steps(state: Lowering, population: FloatPopulation) -> int:
    """Steps over which it accumulates: the network's, or those before it starts."""
    return max(state.options.steps, state.depths[population.name])


def _accumulated(
    state: Lowering, population: FloatPopulation, above: Floats, below: Floats
) -> float:
    bias = population.bias.ravel()
    per_step = np.maximum(above + bias, below - bias).max(initial=0.0)
    return _steps(state, population) * float(per_step) / max(1.0 - population.keep, 1e-12)


def _reach(state: Lowering, population: FloatPopulation) -> tuple[Floats, Floats]:
    """For each neuron the largest and smallest current, in floats, that its sources can cause."""
    rows = math.prod(population.shape)
    above, below = np.zeros(rows), np.zeros(rows)
    for projection in state.floats.incoming(population.name):
        up, down = projection.one_sided_sums(population.shape)
        source = projection.source
        largest = state.largest_message(source) / state.message_scale(source)
        above += up * largest
        below += down * largest
    return above, below
