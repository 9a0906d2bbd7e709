"""Neurons of different decays become populations of their own, and compute what they did."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from neurokd.errors import UnsupportedNodeError
from neurokd.export import simulate_nir
from neurokd.export.lower import lowering
from neurokd.hardware.emulator import emulate

DT = 2.0**-13
RNG = np.random.default_rng(1)
STEPS = 4


def lif(tau: Any, size: int = 4, threshold: float = 1.0) -> nir.LIF:
    steps = np.broadcast_to(np.asarray(tau, dtype=float), size) * DT
    zero = np.zeros(size)
    return nir.LIF(steps, steps / DT, zero, np.full(size, threshold), zero)


def weights(*shape: int) -> np.ndarray:
    return RNG.integers(-3, 8, size=shape) / 8


def graph(tau: Any, last: Any = 2.0) -> nir.NIRGraph:
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([5])),
        "w0": nir.Linear(weights(4, 5)),
        "l0": lif(tau),
        "w1": nir.Linear(weights(4, 4)),
        "l1": lif(last),
        "back": nir.Linear(weights(4, 4)),
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "w0"), ("w0", "l0"), ("l0", "w1"), ("w1", "l1"), ("l1", "output")]
    edges += [("l0", "back"), ("back", "l0")]
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT}, type_check=False)


def data() -> np.ndarray:
    return (RNG.random((STEPS, 8, 5)) < 0.5).astype(np.int32)


def test_each_decay_has_a_population_and_its_rows_and_columns() -> None:
    made, x = graph([2, 4, 2, 4]), data()
    names = ["l0.part1", "l0.part2", "l1"]
    state = lowering(made, calibration=x, scales=dict.fromkeys(names, 32.0))
    assert [p.name for p in state.floats.populations] == ["input", *names]
    assert [state.floats.population(n).beta for n in names[:2]] == [0.5, 0.75]
    # into two parts, from two parts, and the loop between them: 2 + 2 + 4
    assert len(state.floats.projections) == 8
    assert state.report["l0"] == {"split_into": names[:2]}
    net = state.deployed
    assert net is not None
    run = emulate(net, net.padded(x), record=("spikes",), engine="torch")
    reference = simulate_nir(made, x)
    for part, members in (("l0.part1", [0, 2]), ("l0.part2", [1, 3])):
        found = run.records[part]["spikes"][1 : 1 + STEPS]
        np.testing.assert_array_equal(found, reference.records["l0"][:, :, members])
    np.testing.assert_array_equal(run.output[2 : 2 + STEPS], reference.output)
    assert 0.05 < reference.output.mean() < 0.95


def test_one_decay_is_left_alone() -> None:
    state = lowering(graph(2.0), calibration=data())
    assert [p.name for p in state.floats.populations] == ["input", "l0", "l1"]
    assert "l0" in state.report and "split_into" not in state.report["l0"]


def test_decays_that_round_to_the_same_are_one() -> None:
    # 4096 / τ of 2 and 2.0001 steps are both 2048
    state = lowering(graph([2, 2.0001, 2, 2]), calibration=data())
    assert [p.name for p in state.floats.populations] == ["input", "l0", "l1"]


def wide() -> nir.NIRGraph:
    made = graph(2.0)
    made.nodes["l0"] = lif(np.arange(2, 22), 20)
    made.nodes["w0"] = nir.Linear(weights(20, 5))
    made.nodes["w1"] = nir.Linear(weights(4, 20))
    made.nodes["back"] = nir.Linear(weights(20, 20))
    return made


@pytest.mark.parametrize(
    ("made", "node", "words"),
    [
        (graph(2.0, last=[2, 4, 2, 4]), "l1", "2 different values.*"),
        (wide(), "l0", "at most 16.*20 different values"),
    ],
)
def test_what_cannot_be_split_is_refused_by_name(made: nir.NIRGraph, node: str, words: str) -> None:
    with pytest.raises(UnsupportedNodeError, match=words) as caught:
        lowering(made, calibration=data())
    assert caught.value.where == f"node {node!r}" and caught.value.remedy
