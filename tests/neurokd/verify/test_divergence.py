"""The first divergence: order of time, then topology, then variable, sample and neuron."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from neurokd.errors import BackendFailedError
from neurokd.hardware.counts import Counts
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    InputPopulation,
    LIFPopulation,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import DenseProjection
from neurokd.hardware.run import RECORDABLE, Run
from neurokd.verify.divergence import compare_runs
from neurokd.verify.verdict import Divergence

STEPS, BATCH = 3, 2


def network() -> DeployedNetwork:
    def lif(name: str, shape: tuple[int, ...], spiking: bool) -> LIFPopulation:
        return LIFPopulation(
            name, shape, 4095, 2048, 10, np.zeros(shape, np.int32), spiking=spiking
        )

    return DeployedNetwork(
        # Given in reverse: the comparison has to follow the topology, not this order.
        populations=(
            lif("readout", (2,), False),
            lif("hidden", (2, 2), True),
            InputPopulation("input", (3,)),
        ),
        projections=(
            DenseProjection("a", "input", "hidden", np.ones((4, 3), np.int32)),
            DenseProjection("b", "hidden", "readout", np.ones((2, 4), np.int32)),
        ),
        output="readout",
        chip="loihi2",
        steps=STEPS,
    )


def run(backend: str, records: Mapping[str, Mapping[str, NDArray[np.int32]]]) -> Run:
    return Run(
        backend=backend,
        output=records["readout"]["v"],
        records=records,
        counts=Counts(STEPS, BATCH, {}, {}),
        depths={"input": 0, "hidden": 1, "readout": 2},
        latency=2,
        output_is_spikes=False,
    )


def records(seed: int = 0) -> dict[str, dict[str, NDArray[np.int32]]]:
    random = np.random.default_rng(seed)
    shapes = {"hidden": (STEPS, BATCH, 2, 2), "readout": (STEPS, BATCH, 2)}
    return {
        name: {
            variable: random.integers(-50, 50, shape).astype(np.int32)
            for variable in ("u", "v", "spikes")
        }
        for name, shape in shapes.items()
    }


def test_equal_runs_are_identical_and_every_value_is_counted() -> None:
    identity = compare_runs(network(), run("emulator", records()), run("lava", records()))
    assert identity.identical
    assert identity.first_divergence is None
    assert identity.populations == ("hidden", "readout")
    assert identity.variables == ("u", "v", "spikes")
    assert identity.samples == BATCH
    assert identity.compared == 3 * (STEPS * BATCH * 4 + STEPS * BATCH * 2)


def test_the_divergence_is_named_in_full() -> None:
    other = records()
    other["hidden"]["spikes"][1, 1, 1, 0] += 7
    identity = compare_runs(network(), run("emulator", records()), run("lava", other))
    assert not identity.identical
    value = int(records()["hidden"]["spikes"][1, 1, 1, 0])
    assert identity.first_divergence == Divergence(
        "hidden", "spikes", 2, 1, (1, 0), expected=value, found=value + 7
    )


def test_time_comes_before_topology() -> None:
    other = records()
    other["hidden"]["u"][2, 0, 0, 0] += 1
    other["readout"]["v"][1, 1, 1] += 1
    divergence = compare_runs(
        network(), run("emulator", records()), run("lava", other)
    ).first_divergence
    assert divergence is not None
    assert (divergence.population, divergence.variable, divergence.step) == ("readout", "v", 2)


def test_topology_comes_before_variable_and_variable_before_sample() -> None:
    other = records()
    other["readout"]["u"][0, 0, 0] += 1
    other["hidden"]["spikes"][0, 0, 0, 0] += 1
    other["hidden"]["v"][0, 1, 1, 1] += 1
    divergence = compare_runs(
        network(), run("emulator", records()), run("lava", other)
    ).first_divergence
    assert divergence is not None
    assert (divergence.population, divergence.variable, divergence.sample) == ("hidden", "v", 1)
    assert divergence.neuron == (1, 1)


def test_a_missing_record_is_not_identity() -> None:
    other = records()
    del other["hidden"]["u"]
    with pytest.raises(BackendFailedError, match="u was not recorded.*no u from lava"):
        compare_runs(network(), run("emulator", records()), run("lava", other))


def test_a_missing_population_is_not_identity() -> None:
    other = records()
    del other["hidden"]
    with pytest.raises(BackendFailedError, match="'hidden'.*was not recorded"):
        compare_runs(network(), run("emulator", records()), run("lava", other))


def test_spikes_of_an_accumulator_need_not_be_recorded() -> None:
    one, other = records(), records()
    del one["readout"]["spikes"]
    identity = compare_runs(network(), run("emulator", one), run("lava", other))
    assert identity.identical
    assert identity.compared == 3 * STEPS * BATCH * 4 + 2 * STEPS * BATCH * 2


def test_another_shape_is_refused() -> None:
    other = records()
    other["hidden"]["v"] = other["hidden"]["v"][:2]
    with pytest.raises(BackendFailedError, match="different shapes"):
        compare_runs(network(), run("emulator", records()), run("lava", other))


def test_state_of_sigma_delta_neurons_and_of_driven_inputs_is_compared() -> None:
    net = DeployedNetwork(
        (
            CurrentInputPopulation("in", (2,), dv=0, vth=1),
            SigmaDeltaPopulation("a", (2,), 1, np.zeros(2, np.int32)),
            SigmaPopulation("out", (2,)),
        ),
        (
            DenseProjection("w", "in", "a", np.full((2, 2), 2, np.int32)),
            DenseProjection("x", "a", "out", np.full((2, 2), 2, np.int32)),
        ),
        "out",
        "loihi2",
        steps=STEPS,
    )
    x = np.full((BATCH, 2), 9, np.int32)
    one, other = (emulate(net, x, 6, record=RECORDABLE) for _ in range(2))
    identity = compare_runs(net, one, other)
    assert identity.identical
    assert identity.populations == ("in", "a", "out")
    assert identity.compared == 6 * BATCH * 2 * (3 + 5 + 2)
    other.records["a"]["residue"][4, 1, 0] += 1
    divergence = compare_runs(net, one, other).first_divergence
    assert divergence is not None
    assert (divergence.population, divergence.variable, divergence.step) == ("a", "residue", 5)
