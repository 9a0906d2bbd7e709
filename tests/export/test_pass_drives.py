"""A bias that fires before the input arrives is driven where a loop would remember it."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from neurokd.errors import UnsupportedNodeError
from neurokd.export import simulate_nir
from neurokd.export.lower import PASSES, lowering
from neurokd.export.lowering import Lowering
from neurokd.hardware.emulator import emulate

DT = 2.0**-13
STEPS = 5


def lif() -> nir.LIF:
    return nir.LIF(*(np.full(3, v) for v in (2 * DT, 2.0, 0.0, 1.0, 0.0)))


def graph(bias: float, loop: bool) -> nir.NIRGraph:
    rng = np.random.default_rng(0)
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([3])),
        "w0": nir.Affine(rng.integers(-4, 7, (3, 3)) / 8, np.full(3, bias)),
        "l0": lif(),
        "w1": nir.Linear(rng.integers(-4, 9, (3, 3)) / 8),
        "l1": lif(),
        "back": nir.Linear(rng.integers(-8, 5, (3, 3)) / 8),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "w0"), ("w0", "l0"), ("l0", "w1"), ("w1", "l1"), ("l1", "output")]
    if loop:
        edges += [("l1", "back"), ("back", "l1")]
    else:
        del nodes["back"]
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT}, type_check=False)


def data() -> np.ndarray:
    return (np.random.default_rng(1).random((STEPS, 8, 3)) < 0.5).astype(np.int32)


def lowered(made: nir.NIRGraph) -> Lowering:
    return lowering(made, calibration=data(), scales={"l0": 64.0, "l1": 64.0, "l0.bias": 1.0})


def test_the_driven_network_is_exact() -> None:
    made = graph(1.5, loop=True)
    state = lowered(made)
    assert [p.name for p in state.floats.populations if p.drive] == ["l0.bias"]
    assert state.report["l0"]["bias_by"] == "l0.bias"
    net = state.deployed
    assert net is not None and net.latency == 2
    assert all(p.start_step == 1 for p in net.populations[1:])
    run = emulate(net, net.padded(data()), record=("spikes",), engine="torch")
    assert run.records["l0.bias"]["spikes"].all()
    # nothing of the bias before the first input is there
    assert not run.records["l0"]["spikes"][0].any() and not run.records["l1"]["spikes"][:2].any()
    reference = simulate_nir(made, data())
    for name in ("l0", "l1"):
        late = net.depth(name)
        found = run.records[name]["spikes"][late : late + STEPS]
        np.testing.assert_array_equal(found, reference.records[name])
    assert reference.output.any() and not reference.output.all()


@pytest.mark.parametrize(("bias", "loop"), [(0.25, True), (1.5, False)])
def test_what_is_quiet_or_forgotten_keeps_its_bias(bias: float, loop: bool) -> None:
    state = lowered(graph(bias, loop))
    assert not any(p.drive for p in state.floats.populations)
    net = state.deployed
    assert net is not None and net.population("l0").bias.any()
    run = emulate(net, net.padded(data()), record=("spikes",), engine="torch")
    expected = simulate_nir(graph(bias, loop), data()).output
    np.testing.assert_array_equal(run.output[2 : 2 + STEPS], expected)


def test_without_the_pass_the_network_is_refused() -> None:
    made = graph(1.5, loop=True)
    # l1 remembers through its loop; a weight that lets the early spikes through
    made.nodes["w1"] = nir.Linear(2 * np.eye(3))
    state = Lowering(graph=made, options=lowered(made).options)
    with pytest.raises(UnsupportedNodeError, match="before their first input") as caught:
        for name, transform in PASSES:
            state = state if name == "drives" else transform(state)
    assert caught.value.where == "node 'l1'" and caught.value.remedy
