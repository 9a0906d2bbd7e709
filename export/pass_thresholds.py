"""Pass: thresholds, decays and biases as the chip's integers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError
from neurokd.export.float_network import FloatPopulation
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering
from neurokd.hardware.population import (
    BIAS_EXPONENT_LIMIT,
    BIAS_MANTISSA_LIMITS,
    DECAY_LIMIT,
    STATE_SHIFT,
    THRESHOLD_LIMIT,
    LIFPopulation,
)


def thresholds(state: Lowering) -> Lowering:
    """vth = round(A θ), dv = round(4096 (1 − β)), bias = round(64 A b) as mantissa and exponent.

    A neuron that keeps nothing of its membrane (a Threshold, a relay) has the largest dv, with
    which v >> 12 is left; of a membrane below 4096, as a relay's, that is nothing.

    Raises: `CapacityError` for a number that has no place.
    """
    neurons, notes = {}, {}
    for population in state.floats.neurons:
        if population.name == state.hosted:
            continue
        scale = state.scales[population.name]
        spiking = population.kind == "spiking"
        vth = round(scale * population.threshold) if spiking else THRESHOLD_LIMIT
        dv = min(DECAY_LIMIT, round(4096 * (1.0 - population.beta)))
        mantissa, exponent = bias_integers(population.name, scale * 64 * population.bias)
        neurons[population.name] = LIFPopulation(
            name=population.name,
            shape=population.shape,
            # u ← u (4095 − du) / 4096: without a filtering synapse nothing of u is kept
            du=DECAY_LIMIT - round(4096 * population.keep),
            dv=dv,
            vth=vth,
            bias_mant=mantissa,
            bias_exp=exponent,
            start_step=state.start_steps[population.name],
            spiking=spiking,
        )
        notes[population.name] = _note(population, scale, neurons[population.name])
    return replace(state, neurons=neurons, report=state.noted(**notes))


def bias_integers(name: str, bias: Floats) -> tuple[NDArray[np.int32], int]:
    """Mantissas of 13 bits, signed, and their smallest common exponent.

    Shapes: bias of the population, in units of v.
    """
    low, high = BIAS_MANTISSA_LIMITS
    for exponent in range(BIAS_EXPONENT_LIMIT + 1):
        mantissa = np.rint(bias / (1 << exponent))
        if not mantissa.size or (mantissa.min() >= low and mantissa.max() <= high):
            return mantissa.astype(np.int32), exponent
    raise CapacityError(
        "the bias does not fit",
        where=f"node {name!r}",
        expected=f"|bias| ≤ {high << BIAS_EXPONENT_LIMIT}",
        found=f"{np.abs(bias).max():.0f}",
        remedy="use fewer input bits, or train with smaller biases",
    )


def _note(population: FloatPopulation, scale: float, neuron: LIFPopulation) -> dict[str, Any]:
    error = neuron.bias / (scale * 64) - population.bias
    note: dict[str, Any] = {
        "decay_error": abs(neuron.dv / 4096 - (1.0 - population.beta)),
        "rms_bias_error": math.sqrt(float(np.mean(np.square(error)))) if error.size else 0.0,
        "start_step": neuron.start_step,
    }
    if neuron.spiking:
        note["threshold"] = neuron.vth
        note["threshold_error"] = abs(neuron.vth / scale - population.threshold)
    else:
        note["threshold_distance"] = neuron.vth << STATE_SHIFT
    return note
