"""Shortcuts get the delay that they lack, in the cheaper of two ways; without it all is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest

from neurokd.errors import UnsupportedNodeError
from neurokd.export import pass_balance, simulate_nir
from neurokd.export.float_network import FloatNetwork
from neurokd.export.lower import PASSES, lowering
from neurokd.export.lowering import Lowering
from neurokd.export.lowering_checks import check
from neurokd.hardware.emulator import emulate

DT = 2.0**-13
RNG = np.random.default_rng(4)
STEPS = 5


def lif(shape: tuple[int, ...]) -> nir.LIF:
    return nir.LIF(*(np.full(shape, v) for v in (2 * DT, 2.0, 0.0, 1.0, 0.0)))


def conv(weight: np.ndarray, size: tuple[int, int], padding: int) -> nir.Conv2d:
    return nir.Conv2d(size, weight, 1, padding, 1, 1, np.zeros(len(weight)))


def weights(*shape: int) -> np.ndarray:
    return RNG.integers(-4, 7, size=shape) / 8


def residual(shortcut: Any = None, depth: int = 2) -> nir.NIRGraph:
    """A stem, then ``depth`` layers of convolutions with a shortcut around them."""
    shape, size = (2, 4, 3), (4, 3)
    nodes: dict[str, Any] = {"input": nir.Input(np.array(shape))}
    for index in range(depth + 1):
        nodes[f"c{index}"] = conv(weights(2, 2, 3, 3), size, 1)
        nodes[f"l{index}"] = lif(shape)
    nodes["output"] = nir.Output(np.array(shape))
    names = list(nodes)
    edges = list(zip(names, names[1:], strict=False))
    if shortcut is not None:
        nodes["skip"] = shortcut
        edges += [("l0", "skip"), ("skip", f"l{depth}")]
    else:
        edges += [("l0", f"l{depth}")]
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT}, type_check=False)


def data() -> np.ndarray:
    return (np.random.default_rng(0).random((STEPS, 6, 2, 4, 3)) < 0.5).astype(np.int32)


def differing(graph: nir.NIRGraph, state: Lowering) -> int:
    net = state.deployed
    assert net is not None
    run = emulate(net, net.padded(data()), record=("spikes",), engine="torch")
    late = net.latency
    expected = simulate_nir(graph, data()).output
    assert 0.05 < expected.mean() < 0.95
    return int((run.output[late : late + STEPS] != expected).sum())


def lowered(graph: nir.NIRGraph) -> Lowering:
    scales = {name: 32.0 for name in graph.nodes if name.startswith("l")}
    return lowering(graph, calibration=data(), scales=scales)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_an_identity_is_delayed_by_its_synapses(depth: int) -> None:
    graph = residual(depth=depth)
    state = lowered(graph)
    (skip,) = (p for p in state.floats.projections if p.source == "l0" and p.target == f"l{depth}")
    assert skip.delay == depth - 1 and skip.ends is not None and skip.fixed
    note = state.report[f"l{depth}"]["delays"]
    assert note == {skip.name: {"steps": depth - 1, "by": "written out"}}
    assert not any(p.relay for p in state.floats.populations)
    assert differing(graph, state) == 0


@pytest.mark.parametrize("depth", [2, 4])
def test_a_convolution_is_delayed_by_a_relay_where_that_is_cheaper(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = residual(conv(weights(2, 2, 1, 1), (4, 3), 0), depth)
    # 2 · 2 · 12 synapses written out, or 24 neurons and 24 synapses
    assert not any(p.relay for p in lowered(graph).floats.populations)
    monkeypatch.setattr(pass_balance, "_DELAY_BITS", 6000)
    state = lowered(graph)
    (relay,) = (p for p in state.floats.populations if p.relay)
    assert relay.shape == (2, 4, 3) and relay.name == "skip.relay"
    assert state.report[relay.name]["relay_of"] == "l0"
    assert state.report[relay.name]["neurons"] == 24
    (entry,) = state.floats.incoming(relay.name)
    assert entry.delay == depth - 2
    assert differing(graph, state) == 0


def test_a_chain_is_left_as_it_is() -> None:
    graph = residual()
    graph.edges.remove(("l0", "l2"))
    state = lowered(graph)
    assert not any(p.delay for p in state.floats.projections)
    assert not any("delays" in note for note in state.report.values())
    assert differing(graph, state) == 0


def test_without_balancing_the_spikes_are_others() -> None:
    graph = residual()

    def unbalanced(network: FloatNetwork) -> FloatNetwork:
        return replace(network, projections=tuple(replace(p, delay=0) for p in network.projections))

    state = Lowering(graph=graph, options=lowered(graph).options)
    for name, transform in PASSES:
        state = transform(state)
        if name == "balance":
            state = replace(state, network=unbalanced(state.floats))
            with pytest.raises(AssertionError):
                check(name, state)
    assert differing(graph, state) > 20


def test_a_shortcut_of_the_input_is_written_out() -> None:
    graph = residual()
    graph.nodes["skip"] = conv(weights(2, 2, 3, 3), (4, 3), 1)
    graph.edges += [("input", "skip"), ("skip", "l1")]
    state = lowering(graph, calibration=RNG.random((4, 2, 4, 3)))
    (skip,) = (p for p in state.floats.projections if p.name == "skip")
    assert skip.ends is not None and skip.delay == 1


def two_layers_in_a_loop(delay: int) -> nir.NIRGraph:
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([3])),
        "w0": nir.Linear(weights(3, 3) + 0.5),
        "l0": lif((3,)),
        "w1": nir.Linear(2 * np.eye(3)),
        "l1": lif((3,)),
        "back": nir.Linear(weights(3, 3)),
        "output": nir.Output(np.array([3])),
    }
    names = ["input", "w0", "l0", "w1", "l1", "output"]
    edges = list(zip(names, names[1:], strict=False))
    if delay:
        nodes["wait"] = nir.Delay(np.full(3, delay * DT))
        edges += [("l1", "wait"), ("wait", "back"), ("back", "l0")]
    else:
        edges += [("l1", "back"), ("back", "l0")]
    return nir.NIRGraph(nodes, edges, metadata={"dt": DT}, type_check=False)


def test_a_loop_over_two_layers_needs_the_steps_that_the_chip_takes() -> None:
    with pytest.raises(UnsupportedNodeError, match="takes a step for each") as caught:
        lowering(two_layers_in_a_loop(0), steps=STEPS)
    assert caught.value.where == "node 'l0'" and "Delay of 2 steps" in (caught.value.remedy or "")
    x = (np.random.default_rng(0).random((STEPS, 6, 3)) < 0.6).astype(np.int32)
    graph = two_layers_in_a_loop(2)
    state = lowering(graph, calibration=x, scales={"l0": 32.0, "l1": 32.0})
    net = state.deployed
    assert net is not None
    run = emulate(net, net.padded(x), record=("spikes",), engine="torch")
    reference = simulate_nir(graph, x)
    for name in ("l0", "l1"):
        late = net.depth(name)
        found = run.records[name]["spikes"][late : late + STEPS]
        np.testing.assert_array_equal(found, reference.records[name])
    assert reference.output.any()
