"""Pass: how many integers a float of 1 becomes, for each population, within the chip's limits.

One number A belongs to a population: a current of x floats is A x integers, so weights from a
source whose messages carry m integers for a float are A w / m, the threshold is A θ, the membrane
64 A v. Each projection has an exponent of its own: its stored weights are A w / (m 2^e), and the
chip shifts their sum by e. Above 0 it lets large weights share a population with small ones; below
0 it lets weights use all their bits where a limit keeps A small. It never goes so low that the
shift would round.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError
from neurokd.export.float_network import FloatPopulation
from neurokd.export.float_run import Peak, run_float
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering
from neurokd.export.scale_error import ScaledProjection, message_moments, total_error
from neurokd.export.scale_limits import (
    CURRENT_LIMIT,
    accumulated_bound,
    divide,
    scale_limits,
)
from neurokd.export.weight_grid import WeightGrid, shifted
from neurokd.hardware.population import STATE_SHIFT, THRESHOLD_LIMIT
from neurokd.hardware.weight_format import WEIGHT_EXPONENT_LIMITS

MAX_EXPONENT = WEIGHT_EXPONENT_LIMITS[1]
PERCENTILE = 99.9
"""Weights in a hundred that the percentile method keeps within the grid."""
_CANDIDATES = 48
_SMALLEST_SHARE = 1 / 16

Exponents = Mapping[str, int]


@dataclass(frozen=True)
class Scaled:
    """One population's scale, and its projections' exponents and stored weights."""

    scale: float
    exponents: Exponents
    weights: Mapping[str, NDArray[np.int32]]


def scale_search(state: Lowering) -> Lowering:
    """Scales, exponents and integer weights of every population.

    Method "mse": of the scales within all limits the one whose rounding disturbs the currents
    least, on the calibration's messages. "percentile": the one at which `PERCENTILE` of the weights
    fit the grid; the others are clipped.

    Raises: `CapacityError` where no scale fits.
    """
    records: Mapping[str, Floats] = {}
    peaks: Mapping[str, Peak] = {}
    if state.options.calibration is not None:
        records, peaks = run_float(state.floats, state.options.calibration)
    chosen: dict[str, Scaled] = {}
    notes: dict[str, dict[str, Any]] = {}
    for population in state.floats.neurons:
        if population.name == state.hosted:
            continue  # its weights are the host's
        projections = {
            p.name: ScaledProjection(
                p,
                state.message_scale(p.source),
                WeightGrid(state.options.bits(p.name)),
                message_moments(records[p.source], p) if records else None,
            )
            for p in state.floats.incoming(population.name)
        }
        peak = peaks.get(population.name)
        limits = scale_limits(state, population, peak)
        if population.name in state.options.scales:
            found = _given(state, population, projections, peak)
        else:
            found = _search(state, population, projections, limits)
        chosen[population.name] = found
        notes[population.name] = _note(state, population, projections, found, limits, peak)
    return replace(
        state,
        scales={name: found.scale for name, found in chosen.items()},
        exponents={k: e for found in chosen.values() for k, e in found.exponents.items()},
        weights={k: w for found in chosen.values() for k, w in found.weights.items()},
        report=state.noted(**notes),
    )


def _search(
    state: Lowering,
    population: FloatPopulation,
    projections: Mapping[str, ScaledProjection],
    limits: Mapping[str, float],
) -> Scaled:
    ceiling = min(limits.values())
    largest = max((p.largest for p in projections.values()), default=0.0)
    if largest == 0.0:
        ceiling = min(ceiling, 1.0)
    method = _by_percentile if state.options.scale_method == "percentile" else _by_error
    for scale, exponents in method(population, projections, ceiling):
        weights = _integers(projections, scale, exponents)
        if _usable(state, population, scale, exponents, weights, largest):
            return Scaled(scale, exponents, weights)
    raise CapacityError(
        "no weight scale fits the chip's limits",
        where=f"node {population.name!r}",
        found=", ".join(f"{name} ≤ {value:.4g}" for name, value in limits.items()),
        remedy="use fewer input bits or fewer steps, or train with smaller weights and biases",
    )


def _usable(
    state: Lowering,
    population: FloatPopulation,
    scale: float,
    exponents: Exponents,
    weights: Mapping[str, NDArray[np.int32]],
    largest: float,
) -> bool:
    """A threshold above 0, weights that are not all 0, a readout that never reaches its limit."""
    if population.threshold and round(scale * population.threshold) < 1:
        return False
    if largest and not any(np.any(w) for w in weights.values()):
        return False
    if population.kind != "accumulator":
        return True
    bound = accumulated_bound(state, population, _shifted(weights, exponents), scale)
    return bound < THRESHOLD_LIMIT << STATE_SHIFT


def _by_error(
    population: FloatPopulation, projections: Mapping[str, ScaledProjection], ceiling: float
) -> Iterator[tuple[float, Exponents]]:
    """All candidates, the least error first.

    Of equal errors the larger scale: thresholds and biases are rounded more finely.
    """
    ranked = []
    for scale in _candidates(population, projections, ceiling):
        exponents = _exponents(projections, scale)
        ranked.append((total_error(projections, scale, exponents), -scale, exponents))
    for _, negative, exponents in sorted(ranked, key=lambda entry: entry[:2]):
        yield -negative, exponents


def _by_percentile(
    population: FloatPopulation, projections: Mapping[str, ScaledProjection], ceiling: float
) -> Iterator[tuple[float, Exponents]]:
    """The scale at which `PERCENTILE` of each projection's weights fit; then ever smaller ones."""
    full = {
        name: p.grid.span / float(np.percentile(p.magnitudes, PERCENTILE))
        for name, p in projections.items()
        if p.magnitudes.size
    }
    wanted = min(ceiling, max(full.values(), default=ceiling))
    highest = _highest_exponent(projections)
    for share in np.geomspace(1.0, _SMALLEST_SHARE, _CANDIDATES):
        scale = _between(population, float(wanted * share))
        yield (
            scale,
            {
                name: _exponent(scale / full[name] if name in full else 0.0, p, highest)
                for name, p in projections.items()
            },
        )


def _exponent(excess: float, projection: ScaledProjection, highest: int) -> int:
    """The shift that brings weights ``excess`` times too large onto the whole of the grid."""
    shift = math.ceil(math.log2(excess) - 1e-9) if excess > 0 else 0
    return min(highest, max(projection.grid.lowest_exponent, shift))


def _exponents(projections: Mapping[str, ScaledProjection], scale: float) -> Exponents:
    """For each projection the shift of least error: nothing clipped, or one bit less of it."""
    chosen = {}
    for name, p in projections.items():
        highest = _highest_exponent(projections)
        whole = _exponent(scale * p.largest / p.grid.span, p, highest)
        chosen[name] = min(
            (whole, max(p.grid.lowest_exponent, whole - 1)),
            key=lambda exponent, p=p: (p.error(scale / 2.0**exponent), -exponent),  # type: ignore[misc]
        )
    return chosen


def _highest_exponent(projections: Mapping[str, ScaledProjection]) -> int:
    """A projection that is alone needs none above 0: a smaller scale does the same."""
    return MAX_EXPONENT if len(projections) > 1 else 0


def _candidates(
    population: FloatPopulation, projections: Mapping[str, ScaledProjection], ceiling: float
) -> list[float]:
    """Scales to try: from full range down, some that clip, powers of two, the weights' own grid.

    All but the last are moved to where A θ is next to a whole number.
    """
    learnt = [p for p in projections.values() if p.largest]
    if not learnt:
        return [ceiling]
    full = max(p.grid.span / p.largest for p in learnt)
    # beyond full range the largest weights are clipped
    clipping = full * np.geomspace(1.0, 3.0, 16)
    below = min(full, ceiling) * np.geomspace(_SMALLEST_SHARE, 1.0, _CANDIDATES)
    powers = 2.0 ** np.arange(math.floor(math.log2(min(full, ceiling))) - 7, math.log2(full) + 1)
    own: Floats = np.empty(0)
    if len(learnt) == 1:
        multiples = np.arange(1, 129) * learnt[0].grid.step / float(learnt[0].magnitudes.min())
        # the lowest weight, −256, lies a step beyond the highest
        own = multiples[multiples * learnt[0].largest <= 256 * (1 + 1e-6)]
    searched = [_between(population, s) for s in itertools.chain(clipping, below, powers)]
    kept = sorted({float(s) for s in itertools.chain(searched, own) if 0 < s <= ceiling})
    return kept or [ceiling]


def _between(population: FloatPopulation, scale: float) -> float:
    """The scale below at which θ lies between two values that v can have on the chip.

    Equation: A θ = n + 1/128, half a unit of v above the threshold n. v = θ in floats, where its
    rounding decides, then cannot happen: strictly above n is what both the chip and floats see.
    """
    if not population.threshold or scale * population.threshold < 1:
        return scale
    half = 0.5 / (1 << STATE_SHIFT)
    return (math.floor(scale * population.threshold - half) + half) / population.threshold


def _given(
    state: Lowering,
    population: FloatPopulation,
    projections: Mapping[str, ScaledProjection],
    peak: Peak | None,
) -> Scaled:
    """The scale that weights were trained for; only what the chip cannot do refuses it."""
    scale = state.options.scales[population.name]
    limits = scale_limits(state, population, None)
    if peak is not None:
        limits["current"] = divide(CURRENT_LIMIT, peak.current)
    name = min(limits, key=lambda key: limits[key])
    if scale > limits[name] * (1 + 1e-6):
        raise CapacityError(
            f"the given scale is beyond the chip's {name} limit",
            where=f"node {population.name!r}",
            expected=f"≤ {limits[name]:.6g}",
            found=f"{scale:.6g}",
            remedy="lower without given scales",
        )
    exponents = {name: state.options.exponents.get(name, 0) for name in projections}
    return Scaled(scale, exponents, _integers(projections, scale, exponents))


def _integers(
    projections: Mapping[str, ScaledProjection], scale: float, exponents: Exponents
) -> dict[str, NDArray[np.int32]]:
    return {name: p.rounded(scale / 2.0 ** exponents[name]) for name, p in projections.items()}


def _shifted(
    weights: Mapping[str, NDArray[np.int32]], exponents: Exponents
) -> dict[str, NDArray[np.int32]]:
    return {name: shifted(weight, exponents[name]) for name, weight in weights.items()}


def _note(
    state: Lowering,
    population: FloatPopulation,
    projections: Mapping[str, ScaledProjection],
    found: Scaled,
    limits: Mapping[str, float],
    peak: Peak | None,
) -> dict[str, Any]:
    layers = {
        name: _layer_note(p, found.scale, found.exponents[name], found.weights[name])
        for name, p in projections.items()
    }
    tightest = min(limits, key=lambda name: limits[name])
    count = max(1, sum(p.projection.weight.size for p in projections.values()))
    squared = sum(
        layers[name]["rms_weight_error"] ** 2 * p.projection.weight.size
        for name, p in projections.items()
    )
    clipped = sum(
        layers[name]["fraction_clipped"] * p.projection.weight.size
        for name, p in projections.items()
    )
    note: dict[str, Any] = {
        "scale": found.scale,
        "weight_scale": {name: found.scale / p.message_scale for name, p in projections.items()},
        "projections": layers,
        "effective_bits": max((n["effective_bits"] for n in layers.values()), default=0.0),
        "fraction_clipped": clipped / count,
        "rms_weight_error": math.sqrt(squared / count),
        "limited_by": tightest if found.scale > 0.9 * limits[tightest] else "weights",
        "max_current": None if peak is None else peak.current * found.scale,
        "max_current_over_limit": None
        if peak is None
        else peak.current * found.scale / CURRENT_LIMIT,
    }
    if peak is not None:
        error = total_error(projections, found.scale, found.exponents)
        note["rms_current_error"] = math.sqrt(error)
    if population.kind == "accumulator":
        shifted = _shifted(found.weights, found.exponents)
        note["proven_bound"] = accumulated_bound(state, population, shifted, found.scale)
    return note


def _layer_note(
    projection: ScaledProjection, scale: float, exponent: int, weights: NDArray[np.int32]
) -> dict[str, Any]:
    """Bits, clipping and resolution (a float weight of one step) of a projection."""
    grid = projection.grid
    stored = scale / 2.0**exponent
    largest = int(np.abs(weights).max(initial=0))
    error = projection.weight_error(stored, weights)
    return {
        "bits": grid.bits,
        "exponent": exponent,
        "effective_bits": round(math.log2(2 * largest / grid.step + 1), 2),
        "resolution": grid.step * projection.message_scale / stored,
        "fraction_clipped": projection.clipped(stored),
        "rms_weight_error": error,
    }
