"""Sigma and delta populations: their limits, and what they put out of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.errors import NeurokdError
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
    output_variable,
)
from neurokd.hardware.projection import DenseProjection
from neurokd.hardware.run import RECORDABLE, Run

ZERO = np.zeros(2, dtype=np.int32)
OUTPUTS: dict[str, tuple[Population, str]] = {
    "lif": (LIFPopulation("out", (2,), 4095, 0, 9, ZERO), "spikes"),
    "accumulator": (LIFPopulation("out", (2,), 4095, 0, 131071, ZERO, spiking=False), "v"),
    "sigma": (SigmaPopulation("out", (2,)), "sigma"),
    "delta": (DeltaPopulation("out", (2,), 5), "spikes"),
    "sigma-delta": (SigmaDeltaPopulation("out", (2,), 5, ZERO), "spikes"),
}


def run(out: Population, x: list[list[int]], **options: Any) -> Run:
    network = DeployedNetwork(
        (InputPopulation("in", (2,), "graded", 8, signed=True), out),
        (DenseProjection("w", "in", "out", np.eye(2, dtype=np.int32), sign_mode="excitatory"),),
        "out",
        "loihi2",
        steps=4,
    )
    return emulate(network, np.array(x)[:, None], **options)


@pytest.mark.parametrize(("out", "variable"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_every_kind_puts_out_its_own_variable(out: Population, variable: str) -> None:
    found = run(out, [[9, 4], [0, 4], [3, 4], [0, 0]], record=RECORDABLE)
    assert output_variable(out) == variable
    assert set(found.records["out"]) == {*out.variables, "spikes"}
    assert set(found.records["in"]) == {"spikes"}
    np.testing.assert_array_equal(found.output, found.records["out"][variable])
    unrecorded = run(out, [[9, 4], [0, 4], [3, 4], [0, 0]])
    np.testing.assert_array_equal(found.output, unrecorded.output)
    assert found.output_is_spikes == (variable == "spikes")


def test_classes_of_sums_and_of_messages() -> None:
    x = [[9, 4], [0, 4], [3, 4], [0, 0]]
    # σ 9, 9, 12 and 4, 8, 12: a tie goes to the first; then the second grows on
    assert run(OUTPUTS["sigma"][0], x).classes.tolist() == [0]
    assert run(OUTPUTS["sigma"][0], [*x[:3], [0, 5], [0, 0]]).classes.tolist() == [1]
    # delta sends 9, −9, and 4 (below 5: waits) …: the messages telescope to the last value sent
    found = run(OUTPUTS["delta"][0], [[9, 4], [0, 6], [0, 6], [0, 0]])
    assert found.output[:, 0].T.tolist() == [[0, 9, -9, 0], [0, 0, 6, 0]]
    assert found.classes.tolist() == [1]


def test_a_variable_that_a_population_lacks_is_left_out() -> None:
    found = run(OUTPUTS["sigma"][0], [[1, 2], [3, 4]], record=("u", "sigma"))
    assert set(found.records) == {"out"}
    assert set(found.records["out"]) == {"sigma"}


@pytest.mark.parametrize("start_step", [1, 3])
def test_start_step_forgets_sums_and_residues(start_step: int) -> None:
    sigma = run(SigmaPopulation("out", (2,), start_step), [[5, 0], [1, 0], [1, 0], [0, 0]])
    assert sigma.output[:, 0, 0].tolist() == [
        0,
        5,
        1 if start_step == 3 else 6,
        2 + 5 * (start_step == 1),
    ]
    # y = 4 is held; with its state forgotten it is a change once more: the residue, too, was 4
    population = DeltaPopulation("out", (2,), 5, cum_error=True, start_step=start_step)
    delta = run(population, [[4, 0]] * 4, record=("error", "residue", "act"))
    assert delta.records["out"]["error"][:, 0, 0].tolist() == (
        [0, 4, 4, 0] if start_step == 3 else [0, 4, 0, 0]
    )


def test_bias_is_shifted_to_the_state() -> None:
    population = SigmaDeltaPopulation("out", (2,), 0, np.array([3, -3]), 1, 2)
    found = run(population, [[0, 0], [0, 100], [0, 0]], record=("act", "spikes"))
    # 3 << 3 = 24, sent as 24 >> 2 = 6; −24 is rectified until 100 arrives: 76 >> 2 = 19
    assert found.records["out"]["act"][:, 0].tolist() == [[24, 0], [24, 0], [24, 76]]
    assert found.records["out"]["spikes"][:, 0].tolist() == [[6, 0], [0, 0], [0, 19]]


def test_largest_messages() -> None:
    assert SigmaPopulation("a", (3,)).max_message == 2**31
    assert DeltaPopulation("a", (3,), 1, 0, 4).max_message == 2**27
    assert SigmaDeltaPopulation("a", (2, 1), 1, ZERO.reshape(2, 1), 3, 0).max_message == 2**31


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (SigmaPopulation, {"start_step": 0}),
        (SigmaPopulation, {"shape": ()}),
        (DeltaPopulation, {"vth": -1}),
        (DeltaPopulation, {"vth": 2**24, "spike_exp": 7}),
        (DeltaPopulation, {"vth": 1, "spike_exp": 8}),
        (DeltaPopulation, {"vth": 1, "state_exp": -1}),
        (SigmaDeltaPopulation, {"vth": 1, "bias": np.zeros(3, dtype=int)}),
        (SigmaDeltaPopulation, {"vth": 1, "bias": np.zeros(2)}),
        (SigmaDeltaPopulation, {"vth": 1, "bias": ZERO, "activation": "tanh"}),
        (SigmaDeltaPopulation, {"vth": 1, "bias": np.array([0, 2**30]), "spike_exp": 1}),
        (SigmaDeltaPopulation, {"vth": 1, "bias": np.array([0, -(2**31)])}),
    ],
)
def test_refused(build: Any, options: Any) -> None:
    with pytest.raises(NeurokdError, match="population 'x'"):
        build(**{"name": "x", "shape": (2,)} | options)
