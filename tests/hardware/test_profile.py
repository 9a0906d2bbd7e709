"""The profile of a tiny network, and what `neurokd.hardware` gives away."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import neurokd.hardware
from neurokd.errors import CapacityError, ShapeMismatchError, UsageError
from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.profile import profile
from neurokd.hardware.projection import DenseProjection
from neurokd.hardware.run import Run


def tiny(outputs: int = 2, inputs: int = 1) -> tuple[DeployedNetwork, Run]:
    """One spike in makes every output neuron fire, a step later."""
    network = DeployedNetwork(
        (
            InputPopulation("in", (inputs,)),
            LIFPopulation("out", (outputs,), 4095, 0, 10, np.zeros(outputs, dtype=np.int32)),
        ),
        (DenseProjection("w", "in", "out", np.full((outputs, inputs), 20)),),
        "out",
        "loihi2",
        steps=3,
    )
    first = np.array([[[1], [1]], [[1], [0]], [[1], [0]], [[0], [0]]])
    x = np.concatenate([first, np.zeros((4, 2, inputs - 1), dtype=first.dtype)], axis=2)
    return network, emulate(network, x)


def test_numbers_by_hand() -> None:
    network, run = tiny()
    result = profile(network, run, "loihi1").to_dict()
    # Two samples of four steps: 4 spikes in, 8 out, 8 synaptic operations, 2 · 4 updates a sample.
    assert (result["chip"], result["samples"], result["steps"]) == ("loihi1", 2, 4)
    inputs, outputs = result["layers"]
    assert (inputs["name"], inputs["neurons"], inputs["spikes_per_sample"]) == ("in", 1, 2)
    assert inputs["spikes_per_neuron_step"] == 0.5
    assert inputs["neuron_updates_per_sample"] == 0
    assert outputs["spikes_per_sample"] == 4
    assert outputs["spikes_per_neuron_step"] == 0.5
    assert outputs["synaptic_operations_per_sample"] == 4
    assert outputs["neuron_updates_per_sample"] == 8
    assert outputs["energy_pj"]["nominal"] == pytest.approx(4 * 35.5 + 8 * 72.8 + 4 * 180.3)
    assert result["cores"] == {
        "count": 1,
        "chips": 1,
        "binding": "threshold configurations: 1 of 16",
        "by_population": {"out": 1},
        "mapped": True,
    }
    assert result["synaptic_memory_bits"] == 16
    # A step: 5.8 µs and, on one core, 1 · 3.8 + 2 · 9.7 + 1 · 35.1 ns (averages).
    assert result["latency_us"]["nominal"] == pytest.approx(4 * (5.8 + 0.0583))
    power_pj = (29.7 + 65.0) * result["latency_us"]["nominal"] * 1e3
    dynamic_pj = sum(layer["energy_pj"]["nominal"] for layer in result["layers"])
    assert result["energy_pj"]["nominal"] == pytest.approx(power_pj + dynamic_pj)
    assert result["uncounted"] == []


def test_the_schema_is_what_the_report_reads() -> None:
    network, run = tiny()
    result = json.loads(json.dumps(profile(network, run).to_dict()))
    assert list(result) == [
        "chip",
        "samples",
        "steps",
        "counts",
        "layers",
        "energy_lines",
        "energy_pj",
        "latency_us",
        "latency_grade",
        "latency_note",
        "cores",
        "synaptic_memory_bits",
        "uncounted",
        "notes",
    ]
    assert set(result["layers"][0]) == {
        "name",
        "neurons",
        "spikes_per_sample",
        "spikes_per_neuron_step",
        "synaptic_operations_per_sample",
        "neuron_updates_per_sample",
        "energy_pj",
    }
    for line in result["energy_lines"]:
        assert set(line) == {"name", "energy_pj", "grade", "note"}
        assert set(line["energy_pj"]) == {"low", "nominal", "high"}
    assert result["counts"] == run.counts.to_dict()


def test_layers_add_up_to_the_operation_lines() -> None:
    network, run = tiny()
    result = profile(network, run)
    layers = Band.total(layer.energy_pj for layer in result.layers)
    lines = Band.total(line.energy_pj for line in result.energy_lines[:3])
    for key, value in layers.to_dict().items():
        assert value == pytest.approx(lines.to_dict()[key])


def test_loihi2_is_named_an_estimate() -> None:
    network, run = tiny()
    result = profile(network, run)
    assert result.chip == "loihi2"
    assert {line.grade for line in result.energy_lines} == {"assumed"}
    assert any("estimate" in note for note in result.notes)
    one = profile(network, run, ChipSpec.load("loihi1"))
    assert not any("estimate" in note for note in one.notes)


def test_a_run_of_another_network_is_refused() -> None:
    network, _ = tiny()
    _, other = tiny(outputs=3)
    with pytest.raises(ShapeMismatchError, match="not one of this network"):
        profile(network, other)
    with pytest.raises(UsageError, match="no such chip"):
        profile(network, tiny()[1], chip="loihi7")


def test_the_package_gives_the_function_not_its_module() -> None:
    assert neurokd.hardware.profile is profile
    assert neurokd.hardware.emulate is emulate
    with pytest.raises(AttributeError, match="map_to_chips"):
        neurokd.hardware.map_to_chips  # noqa: B018


def test_what_fits_no_chip_is_profiled_with_a_lower_bound_on_request() -> None:
    network, run = tiny(inputs=5000)
    with pytest.raises(CapacityError, match="5,000 input axons"):
        profile(network, run)
    result = profile(network, run, mapped=False)
    assert (result.cores.count, result.cores.mapped) == (1, False)
    assert any("lower bound" in note for note in result.notes)


def test_importing_the_package_brings_no_torch() -> None:
    program = (
        "import sys, neurokd.hardware, neurokd.hardware.profile, neurokd.hardware.network_file;"
        "from neurokd.hardware import ChipSpec, DeployedNetwork, Run, profile;"
        "assert callable(profile); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
