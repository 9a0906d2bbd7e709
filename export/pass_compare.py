"""Pass: the integer network beside the float one, layer by layer, on calibration samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.export.float_network import FloatNetwork
from neurokd.export.float_run import multiplications, run_float
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering, refuse
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import STATE_SHIFT, CurrentInputPopulation
from neurokd.hardware.run import Run

SAMPLES = 16
WORK = 4e10
"""Multiplications that the comparison may cost; a sample is taken in any case."""


def compare(state: Lowering) -> Lowering:
    """Run both on the first calibration samples, and note how far each layer is off.

    ``spike_agreement``: the share of spikes and silences that are the same; ``rate`` and
    ``float_rate``: spikes a neuron and step; of an accumulator ``rms_output_error`` is relative to
    the root mean square of the float membranes at the last step.

    Raises: `UnsupportedNodeError` where a bias makes neurons spike before their first input
    arrives, and a delay or a loop carries such spikes into the time after it.
    """
    net = state.deployed
    assert net is not None
    _check_silence_before_start(state, net)
    calibration = state.options.calibration
    if calibration is None:
        return state
    steps = len(calibration)
    cost = multiplications(state.floats) * (2 * steps + net.latency)
    count = max(1, min(SAMPLES, calibration.shape[1], int(WORK / max(cost, 1.0))))
    seen = calibration[:, :count]
    records, _ = run_float(state.floats, seen)
    run = _emulated(state, net, seen)
    notes: dict[str, Mapping[str, Any]] = {}
    for population in state.floats.neurons:
        name, late = population.name, state.depths[population.name]
        expected = records[name]
        if population.kind == "spiking":
            found = run.records[name]["spikes"][late : late + steps]
            notes[name] = {
                "spike_agreement": float(np.mean(found == expected)),
                "rate": float(found.mean()),
                "float_rate": float(expected.mean()),
            }
        else:
            last = run.records[name]["v"][late + steps - 1]
            notes[name] = {
                "rms_output_error": _relative(
                    last / (state.scales[name] * (1 << STATE_SHIFT)), expected[-1]
                )
            }
    report = state.noted(**notes)
    lowering = {
        **net.metadata["lowering"],
        "compared_samples": count,
        "populations": {name: dict(note) for name, note in report.items()},
    }
    deployed = replace(net, metadata={**net.metadata, "lowering": lowering})
    return replace(state, deployed=deployed, report=report)


def _relative(found: Floats, expected: Floats) -> float:
    whole = float(np.sqrt(np.mean(np.square(expected))))
    error = float(np.sqrt(np.mean(np.square(found - expected))))
    return error / whole if whole > 0 else error


def _emulated(state: Lowering, net: DeployedNetwork, seen: Floats) -> Run:
    if isinstance(net.input, CurrentInputPopulation):
        return _emulate(net, net.encode(seen[0]), len(seen) + net.latency)
    messages = np.rint(seen * state.options.input.scale).astype(np.int32)
    return _emulate(net, net.padded(messages))


def _emulate(net: DeployedNetwork, data: NDArray[np.int32], steps: int | None = None) -> Run:
    # a few samples: the compiled engine would take longer to load than to run
    return emulate(net, data, steps, record=("v", "spikes"), engine="torch")


def _check_silence_before_start(state: Lowering, net: DeployedNetwork) -> None:
    """What is sent before start_step must not be on its way when the target starts."""
    network: FloatNetwork = state.floats
    exposed = {
        p.source
        for p in network.projections
        if (p.lag or p.lags is not None) and state.start_steps.get(p.source, 1) > 1
    }
    if not exposed:
        return
    steps = max(state.depths.values()) + 1
    current = isinstance(net.input, CurrentInputPopulation)
    leading = (1,) if current else (steps, 1)
    silence = np.zeros((*leading, *net.input.shape), np.int32)
    run = _emulate(net, silence, steps)
    for name in sorted(exposed):
        early = run.records[name]["spikes"][: state.depths[name]]
        if early.any():
            raise refuse(
                name,
                "a bias makes neurons spike before their first input arrives, and a delay or a "
                "loop carries these spikes into the time after it",
                "train with biases below the threshold, or without bias before loops and delays",
                f"{int((early != 0).sum())} spikes in the first {state.depths[name]} steps",
            )
