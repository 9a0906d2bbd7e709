"""Pass: how many integers a float of 1 becomes, for each population, within the chip's limits.

One number A belongs to a population: a current of x floats is A x integers, so weights from a
source whose messages carry m integers for a float are A w / m, the threshold is A θ, the membrane
64 A v. Among the scales that keep every limit the one with the least squared weight error is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError
from neurokd.export.float_network import FloatPopulation, FloatProjection, Peak, run_float
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering
from neurokd.export.weight_grid import WeightGrid, diffused, round_matrix, round_weights
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
_CANDIDATES = 48
_SMALLEST_SHARE = 1 / 16


@dataclass(frozen=True)
class Rounded:
    """The weights of one population's projections at a scale, and how far they are off."""

    scale: float
    weights: Mapping[str, NDArray[np.int32]]
    squared_error: float
    clipped: float


def scale_search(state: Lowering) -> Lowering:
    """Scales and integer weights of every population.

    Raises: `CapacityError` where no scale fits.
    """
    peaks: Mapping[str, Peak] = {}
    if state.options.calibration is not None:
        _, peaks = run_float(state.floats, state.options.calibration)
    scales: dict[str, float] = {}
    weights: dict[str, NDArray[np.int32]] = {}
    notes: dict[str, dict[str, Any]] = {}
    for population in state.floats.neurons:
        limits = scale_limits(state, population, peaks.get(population.name))
        given = state.options.scales.get(population.name)
        if given is None:
            chosen = _search(state, population, limits)
        else:
            chosen = _given(state, population, given, peaks.get(population.name))
        scales[population.name] = chosen.scale
        weights.update(chosen.weights)
        notes[population.name] = _note(state, population, chosen, limits, peaks)
    return replace(state, scales=scales, weights=weights, report=state.noted(**notes))


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
    limits = {"current": 0.99 * _divide(CURRENT_LIMIT, reach / max(1.0 - population.keep, 1e-12))}
    if peak is not None:
        seen = CURRENT_MARGIN * _divide(CURRENT_LIMIT, peak.current)
        limits["current"] = max(limits["current"], seen)
        if population.kind == "spiking":
            limits["membrane"] = _divide(CURRENT_LIMIT - 1, peak.membrane)
    limits["bias"] = _divide(BIAS_LIMIT, float(np.abs(population.bias).max(initial=0.0)))
    if population.kind == "spiking":
        limits["threshold"] = THRESHOLD_LIMIT / population.threshold
    else:
        limits["proof"] = _divide(THRESHOLD_LIMIT, _accumulated(state, population, above, below))
    return limits


def accumulated_bound(
    state: Lowering,
    population: FloatPopulation,
    weights: Mapping[str, NDArray[np.int32]],
    scale: float,
) -> int:
    """The largest |v| that an accumulator of these integers can reach in the network's steps."""
    rows = math.prod(population.shape)
    above, below = np.zeros(rows), np.zeros(rows)
    for projection in state.floats.incoming(population.name):
        integers = replace(projection, weight=weights[projection.name].astype(np.float64))
        up, down = integers.one_sided_sums()
        largest = state.largest_message(projection.source)
        above += _per_neuron(projection, up, population) * largest
        below += _per_neuron(projection, down, population) * largest
    # half a unit of rounding at the largest exponent covers any rounding of the bias
    bias = scale * 64 * population.bias.ravel()
    slack = np.where(bias != 0, float(1 << BIAS_EXPONENT_LIMIT), 0.0)
    per_step = np.maximum(64 * above + bias, 64 * below - bias) + slack
    return int(math.ceil(_steps(state, population) * float(per_step.max(initial=0.0))))


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
        up, down = projection.one_sided_sums()
        source = projection.source
        largest = state.largest_message(source) / state.message_scale(source)
        above += _per_neuron(projection, up, population) * largest
        below += _per_neuron(projection, down, population) * largest
    return above, below


def _per_neuron(projection: FloatProjection, rows: Floats, target: FloatPopulation) -> Floats:
    if projection.geometry is None:
        return rows
    return np.repeat(rows, math.prod(target.shape[1:]))


def _divide(limit: float, magnitude: float) -> float:
    return limit / magnitude if magnitude > 0 else math.inf


def _search(state: Lowering, population: FloatPopulation, limits: Mapping[str, float]) -> Rounded:
    grid = WeightGrid(state.options.weight_bits)
    incoming = state.floats.incoming(population.name)
    scaled = [p.weight / state.message_scale(p.source) for p in incoming]
    magnitudes = np.abs(np.concatenate([w.ravel() for w in scaled]))
    largest = float(magnitudes.max(initial=0.0))
    ceiling = min(limits.values())
    if largest == 0.0:
        ceiling = min(ceiling, 1.0)
    candidates = _candidates(magnitudes[magnitudes > 0], grid, ceiling)
    rounded = [_round(state, population, scale, grid) for scale in candidates]
    if population.kind == "accumulator":
        limit = THRESHOLD_LIMIT << STATE_SHIFT
        rounded = [
            r for r in rounded if accumulated_bound(state, population, r.weights, r.scale) < limit
        ]
    usable = [
        r
        for r in rounded
        if (round(r.scale * population.threshold) >= 1 or not population.threshold)
        and (largest == 0.0 or any(np.any(w) for w in r.weights.values()))
    ]
    if not usable:
        raise CapacityError(
            "no weight scale fits the chip's limits",
            where=f"node {population.name!r}",
            found=", ".join(f"{name} ≤ {value:.4g}" for name, value in limits.items()),
            remedy="use fewer input bits or fewer steps, or train with smaller weights and biases",
        )
    # of equal errors the larger scale: thresholds and biases are rounded more finely
    return min(usable, key=lambda r: (r.squared_error, -r.scale))


def _given(
    state: Lowering, population: FloatPopulation, scale: float, peak: Peak | None
) -> Rounded:
    """The scale that weights were trained for; only what the chip cannot do refuses it."""
    limits = scale_limits(state, population, None)
    if peak is not None:
        limits["current"] = _divide(CURRENT_LIMIT, peak.current)
    name = min(limits, key=lambda key: limits[key])
    if scale > limits[name] * (1 + 1e-6):
        raise CapacityError(
            f"the given scale is beyond the chip's {name} limit",
            where=f"node {population.name!r}",
            expected=f"≤ {limits[name]:.6g}",
            found=f"{scale:.6g}",
            remedy="lower without given scales",
        )
    return _round(state, population, scale, WeightGrid(state.options.weight_bits))


def _candidates(magnitudes: Floats, grid: WeightGrid, ceiling: float) -> list[float]:
    """Scales to try: from full range down, some that clip, powers of two, the weights' own grid."""
    if not magnitudes.size:
        return [ceiling]
    full = grid.top / float(magnitudes.max())
    # beyond full range the largest weights are clipped
    clipping = full * np.geomspace(1.0, 3.0, 16)
    below = min(full, ceiling) * np.geomspace(_SMALLEST_SHARE, 1.0, _CANDIDATES)
    powers = 2.0 ** np.arange(math.floor(math.log2(min(full, ceiling))) - 7, math.log2(full) + 1)
    smallest = float(magnitudes.min())
    multiples = np.arange(1, 129) * grid.step / smallest
    # the lowest weight, −256, lies a step beyond the highest
    own = multiples[multiples * float(magnitudes.max()) <= 256 * (1 + 1e-6)]
    everything = np.concatenate([clipping, below, powers, own])
    kept = sorted({float(s) for s in everything if 0 < s <= ceiling})
    return kept or [ceiling]


def _round(state: Lowering, population: FloatPopulation, scale: float, grid: WeightGrid) -> Rounded:
    weights: dict[str, NDArray[np.int32]] = {}
    squared, count, clipped = 0.0, 0, 0
    for projection in state.floats.incoming(population.name):
        scaled = scale * projection.weight / state.message_scale(projection.source)
        round_to = round_matrix if projection.geometry is None else round_weights
        integers = round_to(scaled, grid)
        weights[projection.name] = integers
        error = (integers - scaled) * state.message_scale(projection.source) / scale
        if projection.geometry is None:
            error = diffused(error, projection.weight)
        squared += float(np.square(error).sum())
        clipped += int(
            ((scaled > grid.top + grid.step / 2) | (scaled < -256 - grid.step / 2)).sum()
        )
        count += scaled.size
    # errors below float64's own rounding are none: the weights lie on the grid
    mean = squared / max(count, 1)
    return Rounded(scale, weights, mean if mean > 1e-24 else 0.0, clipped / max(count, 1))


def _note(
    state: Lowering,
    population: FloatPopulation,
    chosen: Rounded,
    limits: Mapping[str, float],
    peaks: Mapping[str, Peak],
) -> dict[str, Any]:
    grid = WeightGrid(state.options.weight_bits)
    largest = max((int(np.abs(w).max(initial=0)) for w in chosen.weights.values()), default=0)
    peak = peaks.get(population.name)
    tightest = min(limits, key=lambda name: limits[name])
    note: dict[str, Any] = {
        "scale": chosen.scale,
        "weight_scale": {
            p.name: chosen.scale / state.message_scale(p.source)
            for p in state.floats.incoming(population.name)
        },
        "effective_bits": round(math.log2(2 * largest / grid.step + 1), 2),
        "fraction_clipped": chosen.clipped,
        "rms_weight_error": math.sqrt(chosen.squared_error),
        "limited_by": tightest if chosen.scale > 0.98 * limits[tightest] else "weights",
        "max_current": None if peak is None else peak.current * chosen.scale,
        "max_current_over_limit": None
        if peak is None
        else peak.current * chosen.scale / CURRENT_LIMIT,
    }
    if population.kind == "accumulator":
        note["proven_bound"] = accumulated_bound(state, population, chosen.weights, chosen.scale)
    return note
