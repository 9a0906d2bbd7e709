"""Pass: the layer that the host computes where the input enters as currents (loihi1)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from neurokd.errors import CapacityError
from neurokd.export.float_network import FloatPopulation, FloatProjection
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering, refuse
from neurokd.hardware.host_layer import WEIGHT_BITS, HostLayer
from neurokd.hardware.population import (
    BIAS_EXPONENT_LIMIT,
    BIAS_MANTISSA_LIMITS,
    DECAY_LIMIT,
    STATE_SHIFT,
    THRESHOLD_LIMIT,
    CurrentInputPopulation,
)

MARGIN = 0.8
"""What calibration may use of the mantissas: other samples may excite a neuron more."""
_SPIKES = "or send binary spikes: calibrate with data of 0 and 1"


def hosted_layer(state: Lowering) -> Lowering:
    """Find the population whose currents the host computes, where the chip takes no analog input.

    Raises: `UnsupportedNodeError` where the input leads to anything but one layer of neurons that
    has no other source, or where the data changes over time.
    """
    if not state.options.by_current:
        return state
    network = state.floats
    source = network.populations[0].name
    first = [p for p in network.projections if p.source == source]
    names = sorted({p.target for p in first})
    target = network.population(names[0])
    if len(names) > 1 or len(first) > 1 or first[0].lag or first[0].lags is not None:
        reason = "the host computes one layer, and the input leads to more than that"
    elif len(network.incoming(target.name)) > 1:
        reason = "the host computes the currents of the first neurons, and others send to them too"
    elif target.kind != "spiking" or target.name == network.output:
        reason = "the host computes the first layer, and behind it there must be spiking neurons"
    elif target.keep:
        reason = "currents that the host computes are not filtered by a synapse"
    else:
        _check_static(state)
        return replace(state, hosted=target.name)
    raise refuse(
        target.name,
        reason,
        f"begin with one linear layer and one layer of LIF or IF neurons, {_SPIKES}",
        ", ".join(f"{p.name!r} into {p.target!r}" for p in network.incoming(target.name)),
    )


def _check_static(state: Lowering) -> None:
    seen = state.options.calibration
    if seen is not None and not (seen == seen[:1]).all():
        raise refuse(
            state.options.input.name,
            "currents enter loihi1 as biases, the same at every step, but the data changes",
            f"use samples without a time axis, {_SPIKES}",
        )


def host_layer(state: Lowering) -> Lowering:
    """The host's integers, and the neurons that they drive.

    Equation: with A integers for a current of 1, the mantissas are 64 A (W x + b) / 2^bias_exp.
    A is as large as the exponent 7 allows for the currents seen in calibration, with a margin (or
    for the worst case), and as the threshold's 17 bits allow.
    """
    if state.hosted is None:
        return state
    population = state.floats.population(state.hosted)
    (projection,) = state.floats.incoming(state.hosted)
    entrance = state.options.input
    largest = _largest_current(state, population, projection)
    top = BIAS_MANTISSA_LIMITS[1]
    scale = 0.98 * THRESHOLD_LIMIT / population.threshold
    if largest > 0:
        scale = min(scale, (top << BIAS_EXPONENT_LIMIT) / (1 << STATE_SHIFT) / largest)
    vth = round(scale * population.threshold)
    if vth < 1:
        raise CapacityError(
            "no scale fits both the currents and the threshold",
            where=f"node {population.name!r}",
            found=f"currents up to {largest:g}, threshold {population.threshold:g}",
            remedy="train with smaller weights and biases",
        )
    unit = scale * (1 << STATE_SHIFT)
    exponent = next(
        e for e in range(BIAS_EXPONENT_LIMIT + 1)
        if unit * largest <= (top << e) * (1 + 1e-9) or e == BIAS_EXPONENT_LIMIT
    )  # fmt: skip
    neurons = CurrentInputPopulation(
        name=population.name,
        shape=population.shape,
        dv=min(DECAY_LIMIT, round(4096 * (1.0 - population.beta))),
        vth=vth,
        bias_exp=exponent,
        scale=unit / (1 << exponent),
    )
    host = _integers(projection, population, entrance.scale, neurons.scale, state)
    note = {
        "scale": scale,
        "weight_scale": {},
        "host_layer": projection.name,
        "host_multiplications": host.multiplications,
        "threshold": vth,
        "threshold_error": abs(vth / scale - population.threshold),
        "decay_error": abs(neurons.dv / 4096 - (1.0 - population.beta)),
        "current_resolution": 1 / neurons.scale,
        "max_current": largest * scale,
    }
    return replace(
        state, host=host, entrance=neurons, report=state.noted(**{population.name: note})
    )


def _largest_current(
    state: Lowering, population: FloatPopulation, projection: FloatProjection
) -> float:
    entrance = state.options.input
    bias = population.bias.ravel()
    if state.options.calibration is None:
        above, below = projection.one_sided_sums(population.shape)
        reach = entrance.max_message / entrance.scale
        return float(np.maximum(np.abs(above * reach + bias), np.abs(below * reach - bias)).max())
    currents = projection.currents(state.options.calibration[0], population.shape)
    return float(np.abs(currents + population.bias).max()) / MARGIN


def _integers(
    projection: FloatProjection,
    population: FloatPopulation,
    input_scale: float,
    mantissas: float,
    state: Lowering,
) -> HostLayer:
    """Weights of 16 bits: as many binary places as they allow beyond those of the mantissas."""
    entrance = state.options.input
    geometry = projection.geometry
    weight = projection.weight
    if projection.ends is not None:
        weight = np.zeros((population.size, entrance.size))
        weight[projection.ends.rows, projection.ends.columns] = projection.weight
    wanted = weight * mantissas / input_scale
    limit = (1 << (WEIGHT_BITS - 1)) - 1
    largest = float(np.abs(wanted).max(initial=0.0))
    shift = 40 if largest == 0 else min(40, max(1, math.floor(math.log2(limit / largest))))
    factor = float(1 << shift)
    if largest * factor > limit:
        raise CapacityError(
            "the first layer's weights do not fit the host's 16 bits",
            where=f"node {population.name!r}",
            found=f"{largest:g} mantissas for an input step",
            remedy="raise input_scale, or use more input bits",
        )
    bias: Floats = population.bias * mantissas * factor
    most = float(np.abs(bias).max(initial=0.0))
    bias_shift = max(0, math.ceil(math.log2(most / (1 << 30)))) if most > 0 else 0
    extra = {} if geometry is None else {
        "stride": geometry.stride,
        "padding": geometry.padding,
        "dilation": geometry.dilation,
        "groups": geometry.groups,
    }  # fmt: skip
    return HostLayer(
        name=projection.name,
        shape=entrance.shape,
        target=population.shape,
        weight=np.rint(wanted * factor).astype(np.int32),
        bias=np.rint(bias / (1 << bias_shift)).astype(np.int32),
        scale=input_scale,
        shift=shift,
        bias_shift=bias_shift,
        bits=entrance.bits,
        signed=entrance.signed,
        **extra,  # type: ignore[arg-type]
    )
