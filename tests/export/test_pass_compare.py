"""The report says how far each layer is from the floats; what the network forgets is checked."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from neurokd.export import pass_calibration, pass_compare
from neurokd.export.float_run import multiplications
from neurokd.export.lower import lowering

DT = 2.0**-13
RNG = np.random.default_rng(6)


def lif(size: int) -> nir.LIF:
    return nir.LIF(*(np.full(size, v) for v in (2 * DT, 2.0, 0.0, 1.0, 0.0)))


def graph() -> nir.NIRGraph:
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([6])),
        "w0": nir.Linear(RNG.integers(-8, 15, size=(20, 6)) / 16),
        "l0": lif(20),
        "w1": nir.Linear(RNG.integers(-8, 15, size=(3, 20)) / 16),
        "readout": nir.I(np.full(3, 1 / DT)),
        "output": nir.Output(np.array([3])),
    }
    names = list(nodes)
    edges = list(zip(names, names[1:], strict=False))
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT}, type_check=False)


def data(samples: int = 40) -> np.ndarray:
    return (RNG.random((5, samples, 6)) < 0.5).astype(float)


def test_on_the_grid_the_report_says_that_nothing_was_lost() -> None:
    scales = {"l0": 128.0, "readout": 128.0}
    state = lowering(graph(), calibration=data(), scales=scales)
    first, last = state.report["l0"], state.report["readout"]
    assert first["spike_agreement"] == 1.0 and last["rms_output_error"] == 0.0
    assert 0.02 < first["rate"] == first["float_rate"] < 0.98
    assert state.deployed is not None
    assert state.deployed.metadata["lowering"]["compared_samples"] == pass_compare.SAMPLES


def test_coarse_weights_are_seen_in_it() -> None:
    state = lowering(graph(), calibration=data(), weight_bits=2)
    assert 0.5 < state.report["l0"]["spike_agreement"] < 1.0
    assert 0.0 < state.report["readout"]["rms_output_error"] < 1.0
    assert state.report["l0"]["projections"]["w0"]["bits"] == 2


def test_without_calibration_there_is_nothing_to_compare() -> None:
    state = lowering(graph(), steps=4)
    assert "spike_agreement" not in state.report["l0"]
    assert state.deployed is not None
    assert "compared_samples" not in state.deployed.metadata["lowering"]


def test_large_networks_are_compared_and_calibrated_on_fewer_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = graph()
    state = lowering(made, calibration=data())
    # 6 · 20 + 20 · 3 a step
    assert multiplications(state.floats) == 180
    assert state.options.calibration is not None and state.options.calibration.shape[1] == 40
    monkeypatch.setattr(pass_calibration, "WORK", 180 * 5 * 7.5)
    # 2 · 5 steps and 2 of latency
    monkeypatch.setattr(pass_compare, "WORK", 180 * 12 * 3.5)
    state = lowering(made, calibration=data())
    assert state.options.calibration is not None and state.options.calibration.shape[1] == 7
    assert state.deployed is not None
    assert state.deployed.metadata["lowering"]["calibration_samples"] == 7
    assert state.deployed.metadata["lowering"]["compared_samples"] == 3
    monkeypatch.setattr(pass_calibration, "VALUES", 29 * 5 * 2)
    state = lowering(made, calibration=data())
    assert state.options.calibration is not None and state.options.calibration.shape[1] == 2
