"""Loihi 1: the host computes the first layer, and its currents enter as biases."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from neurokd.errors import UnsupportedNodeError
from neurokd.export import lower, simulate_nir
from neurokd.export.lower import lowering
from neurokd.hardware.emulator import emulate
from neurokd.hardware.population import CurrentInputPopulation, InputPopulation

DT = 1e-4
RNG = np.random.default_rng(2)
STEPS = 8


def lif(shape: tuple[int, ...], threshold: float = 1.0) -> nir.LIF:
    return nir.LIF(*(np.full(shape, v) for v in (4 * DT, 4.0, 0.0, threshold, 0.0)))


def graph(**changes: Any) -> nir.NIRGraph:
    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([2, 5, 4])),
        "c": nir.Conv2d(
            (5, 4), RNG.normal(0, 0.5, (3, 2, 3, 3)), 1, 1, 1, 1, RNG.normal(0, 0.1, 3)
        ),
        "l": lif((3, 5, 4)),
        "flat": nir.Flatten({"input": np.array([3, 5, 4])}, 0, -1),
        "w": nir.Affine(RNG.normal(0.02, 0.15, (4, 60)), RNG.normal(0, 0.1, 4)),
        "end": lif((4,)),
        "output": nir.Output(np.array([4])),
    } | changes
    names = list(nodes)
    return nir.NIRGraph(
        nodes, list(zip(names, names[1:], strict=False)), metadata={"dt": DT}, type_check=False
    )


@pytest.mark.parametrize("signed", [False, True])
def test_the_first_spikes_are_those_of_the_floats(signed: bool) -> None:
    made = graph()
    x = RNG.random((30, 2, 5, 4)) - 0.5 * signed
    state = lowering(made, chip="loihi1", calibration=x, steps=STEPS)
    net = state.deployed
    assert net is not None and net.host is not None
    assert isinstance(net.input, CurrentInputPopulation) and net.input.name == "l"
    assert [p.name for p in net.populations] == ["l", "end"] and net.latency == 1
    assert net.host.signed == signed and net.host.shape == (2, 5, 4)
    run = emulate(net, net.encode(x), net.chip_steps(), record=("spikes",), engine="torch")
    reference = simulate_nir(made, np.broadcast_to(x, (STEPS, *x.shape)))
    first = run.records["l"]["spikes"][:STEPS]
    assert (first == reference.records["l"]).mean() > 0.998
    assert (run.output[1 : 1 + STEPS] == reference.output).mean() > 0.98
    assert 0.05 < reference.output.mean() < 0.95 and not run.overflows
    # the bias of the second layer counts from its first step on
    assert net.population("end").start_step == 2
    note = net.metadata["lowering"]["populations"]["l"]
    assert note["host_layer"] == "c" and note["spike_agreement"] > 0.998
    assert note["host_multiplications"] == 3 * 2 * 9 * 20


def test_a_dense_first_layer_and_no_calibration() -> None:
    made = graph()
    for name in ("c", "l"):
        del made.nodes[name]
    made.edges = [e for e in made.edges if not set(e) & {"c", "l"}] + [("input", "flat")]
    made.nodes["flat"] = nir.Flatten({"input": np.array([2, 5, 4])}, 0, -1)
    made.nodes["w"] = nir.Linear(RNG.normal(0, 0.1, (4, 40)))
    made.nodes["end"], made.nodes["last"] = lif((4,)), nir.Linear(np.eye(4))
    made.nodes["readout"] = nir.I(np.full(4, 1 / DT))
    made.edges = [e for e in made.edges if e[1] != "output"]
    made.edges += [("end", "last"), ("last", "readout"), ("readout", "output")]
    net = lower(made, "loihi1", steps=STEPS)
    x = RNG.random((20, 2, 5, 4))
    run = emulate(net, net.encode(x), net.chip_steps(), engine="torch")
    scale = 64 * net.metadata["lowering"]["populations"]["readout"]["scale"]
    expected = simulate_nir(made, np.broadcast_to(x, (STEPS, *x.shape))).output[-1]
    assert (np.abs(run.output[-1] / scale - expected) < 0.5).mean() > 0.95


def test_binary_data_enter_as_spikes() -> None:
    x = (RNG.random((10, 2, 5, 4)) < 0.5).astype(float)
    for chip in ("loihi1", "loihi2"):
        net = lower(graph(), chip, x, steps=STEPS)
        assert net.host is None and isinstance(net.input, InputPopulation)
        assert (net.input.encoding, net.input.bits, net.input.scale) == ("spikes", 1, 1.0)
    net = lower(graph(), "loihi1", steps=STEPS, input_bits=1)
    assert net.host is None and net.input.encoding == "spikes"
    net = lower(graph(), "loihi2", RNG.random((10, 2, 5, 4)) - 0.5, steps=STEPS)
    assert net.input.signed and net.input.bits == 8


def looped() -> nir.NIRGraph:
    made = graph()
    made.nodes["back"] = nir.Conv2d((5, 4), np.ones((3, 3, 1, 1)), 1, 0, 1, 1, np.zeros(3))
    made.edges += [("l", "back"), ("back", "l")]
    return made


def twice() -> nir.NIRGraph:
    made = graph()
    made.nodes["second"] = nir.Affine(np.ones((4, 40)), np.zeros(4))
    made.nodes["flat2"] = nir.Flatten({"input": np.array([2, 5, 4])}, 0, -1)
    made.edges += [("input", "flat2"), ("flat2", "second"), ("second", "end")]
    return made


def synapse() -> nir.CubaLIF:
    values = (4 * DT, 2 * DT, 2.0, 0.0, 1.0, 0.0, 4.0)
    return nir.CubaLIF(*(np.full((3, 5, 4), v) for v in values))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (looped(), "others send to them"),
        (twice(), "more than that"),
        (graph(c=nir.SumPool2d(np.array([1, 1]), np.array([1, 1]), np.array([0, 0])),
               l=nir.IF(*(np.full((2, 5, 4), v) for v in (1 / DT, 1.0, 0.0))),
               flat=nir.Flatten({"input": np.array([2, 5, 4])}, 0, -1),
               w=nir.Linear(np.ones((4, 40)))), None),
    ],
)  # fmt: skip
def test_what_the_host_cannot_compute_is_refused(made: nir.NIRGraph, words: str | None) -> None:
    if words is None:
        assert lower(made, "loihi1", steps=STEPS).host is not None
        return
    with pytest.raises(UnsupportedNodeError, match=words) as caught:
        lower(made, "loihi1", steps=STEPS)
    assert "binary spikes" in (caught.value.remedy or "")
    # the same network takes spikes
    lower(made, "loihi1", steps=STEPS, input_bits=1)


def test_data_that_change_over_time_are_refused() -> None:
    with pytest.raises(UnsupportedNodeError, match="the data changes"):
        lower(graph(), "loihi1", RNG.random((STEPS, 3, 2, 5, 4)))
    with pytest.raises(UnsupportedNodeError, match="filtered by a synapse"):
        made = graph(l=synapse())
        made.nodes["c"].bias[:] = 0
        lower(made, "loihi1", steps=STEPS)
