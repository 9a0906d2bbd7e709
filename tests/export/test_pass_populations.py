"""Neuron nodes become populations with the chip's equation; what the chip has not is refused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import nir
import numpy as np
import pytest

from neurokd.errors import UnsupportedNodeError
from neurokd.export import simulate_nir
from neurokd.export.float_network import FloatPopulation
from neurokd.export.lowering import Lowering, Options
from neurokd.export.pass_populations import check_populations, populations
from neurokd.hardware.population import InputPopulation

DT = 1e-4
SIZE = 3


def full(value: float) -> np.ndarray:
    return np.full(SIZE, value)


def lif(**changes: Any) -> nir.LIF:
    fields = {"tau": 4e-4, "r": 6.0, "v_leak": 0.0, "v_threshold": 0.75, "v_reset": 0.0} | changes
    return nir.LIF(**{k: full(v) if isinstance(v, float) else v for k, v in fields.items()})


def cuba(kind: type = nir.CubaLIF, **changes: Any) -> Any:
    fields = {"tau_mem": 4e-4, "tau_syn": 5e-4, "r": 6.0, "v_leak": 0.0, "w_in": 0.5}
    if kind is nir.CubaLIF:
        fields |= {"v_threshold": 0.75, "v_reset": 0.0}
    return kind(**{k: full(v) for k, v in (fields | changes).items()})


def lowering(graph: nir.NIRGraph) -> Lowering:
    options = Options("loihi2", DT, 5, 8, InputPopulation("input", (SIZE,)), None)
    return Lowering(graph, options)


def chain(*nodes: Any) -> nir.NIRGraph:
    ends = {"input": nir.Input(np.array([SIZE])), "output": nir.Output(np.array([SIZE]))}
    inner = {f"n{i}": node for i, node in enumerate(nodes)}
    names = ["input", *inner, "output"]
    edges = list(zip(names, names[1:], strict=False))
    return nir.NIRGraph(ends | inner, edges, type_check=False)


def weights() -> nir.Affine:
    return nir.Affine(np.eye(SIZE), np.ones(SIZE))


def found(graph: nir.NIRGraph) -> tuple[FloatPopulation, ...]:
    return populations(lowering(graph)).populations


def test_every_neuron_node_becomes_one_population() -> None:
    graph = chain(weights(), lif(), weights(), cuba(), weights(), nir.I(full(1 / DT)))
    result = found(graph)
    assert [(p.name, p.kind, p.shape) for p in result] == [
        ("input", "input", (SIZE,)),
        ("n1", "spiking", (SIZE,)),
        ("n3", "spiking", (SIZE,)),
        ("n5", "accumulator", (SIZE,)),
    ]
    assert all(not p.bias.any() and p.bias.shape == p.shape for p in result)


@pytest.mark.parametrize(
    ("node", "kind", "keep", "beta", "threshold", "gain"),
    [
        # β = 1 − dt/τ = 1 − 1/4; gain = r dt/τ = 6/4
        (lif(), "spiking", 0.0, 0.75, 0.75, 1.5),
        (nir.IF(full(2 / DT), full(3.0), full(0.0)), "spiking", 0.0, 1.0, 3.0, 2.0),
        # synapse: keeps 1 − 1/5, takes w_in/5; gain = 1.5 · 0.5 / 5
        (cuba(), "spiking", 0.8, 0.75, 0.75, 0.15),
        (cuba(nir.CubaLI), "accumulator", 0.8, 0.75, 0.0, 0.15),
        (nir.LI(full(4e-4), full(6.0), full(0.0)), "accumulator", 0.0, 0.75, 0.0, 1.5),
        (nir.I(full(2 / DT)), "accumulator", 0.0, 1.0, 0.0, 2.0),
    ],
)
def test_the_parameters_of_each_neuron_by_hand(
    node: Any, kind: str, keep: float, beta: float, threshold: float, gain: float
) -> None:
    (_, p) = found(chain(weights(), node))
    assert p.kind == kind
    assert (p.keep, p.beta, p.threshold) == pytest.approx((keep, beta, threshold))
    np.testing.assert_allclose(p.gain, full(gain))


@pytest.mark.parametrize("node", [lif(), cuba(), nir.IF(full(1 / DT), full(1.0), full(0.0))])
def test_the_equation_of_the_population_is_the_node_s(node: Any) -> None:
    (_, p) = found(chain(node))
    x = np.random.default_rng(0).normal(0.5, 1.0, size=(40, 2, SIZE))
    u, v = np.zeros((2, SIZE)), np.zeros((2, SIZE))
    spikes = []
    for arriving in x:
        u = p.keep * u + p.gain * arriving
        v = p.beta * v + u
        spikes.append(v > p.threshold)
        v = np.where(spikes[-1], 0.0, v)
    expected = simulate_nir(chain(node), x, dt=DT).output
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(np.array(spikes), expected)


def test_linear_nodes_are_left_for_the_next_pass_and_the_state_is_kept() -> None:
    graph = chain(nir.Scale(full(2.0)), weights(), nir.Linear(np.eye(SIZE)), lif())
    before = deepcopy(graph.nodes)
    state = lowering(graph)
    result = populations(state)
    assert [p.name for p in result.populations] == ["input", "n3"]
    assert state.populations == () and result.graph is graph
    assert result.options is state.options and result.network is None
    for name, node in before.items():
        np.testing.assert_equal(vars(graph.nodes[name]), vars(node))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (nir.Threshold(full(0.0)), "threshold must be positive"),
        (lif(v_threshold=np.array([1.0, 1.0, -2.0])), "threshold must be positive"),
        (lif(v_reset=-0.1), "v_reset must be 0"),
        (lif(v_reset=np.array([0.0, 0.0, 0.1])), "v_reset must be 0"),
        (lif(v_threshold=0.0), "threshold must be positive"),
        (lif(v_threshold=-1.0), "threshold must be positive"),
        (lif(v_threshold=float("nan")), "v_threshold"),
        # β of 0 and below, and a synapse that would oscillate
        (lif(tau=DT), "no 12-bit form"),
        (lif(tau=DT / 2), "no 12-bit form"),
        (cuba(tau_syn=DT / 2), "no 12-bit form"),
    ],
)
def test_what_the_chip_does_not_have_is_refused_by_name(node: Any, message: str) -> None:
    with pytest.raises(UnsupportedNodeError, match=message) as caught:
        populations(lowering(chain(weights(), node)))
    assert caught.value.where == "node 'n1'" and caught.value.remedy


@pytest.mark.parametrize("integrator", [nir.I(full(1 / DT)), cuba(nir.CubaLI)])
def test_an_integrator_may_only_be_read_by_the_output(integrator: Any) -> None:
    with pytest.raises(UnsupportedNodeError, match="does not spike") as caught:
        populations(lowering(chain(weights(), integrator, weights(), lif())))
    assert caught.value.where == "node 'n1'" and "n2" in caught.value.found


def test_one_input_and_one_neuron_layer_into_one_output_pass_the_check() -> None:
    check_populations(populations(lowering(chain(weights(), lif()))))


def test_other_ends_do_not_pass_the_check() -> None:
    two_ends = chain(weights(), lif())
    two_ends.nodes["more"] = nir.Output(np.array([SIZE]))
    two_ends.edges.append(("n1", "more"))
    two_starts = chain(weights(), lif())
    two_starts.nodes["more"] = nir.Input(np.array([SIZE]))
    two_starts.edges.append(("more", "n0"))
    summed = chain(lif())
    summed.nodes["second"] = lif()
    summed.edges.extend([("input", "second"), ("second", "output")])
    for graph, message in (
        (two_ends, "exactly one output"),
        (two_starts, "exactly one input"),
        (summed, "one neuron layer"),
        (chain(lif(), weights()), "one neuron layer"),
    ):
        with pytest.raises(UnsupportedNodeError, match=message) as caught:
            check_populations(populations(lowering(graph)))
        assert caught.value.remedy


def test_a_threshold_of_its_own_becomes_a_gain() -> None:
    # thresholds 1, 2, 4: everybody's is 4, and the neuron of 1 sees all four times as large
    node = lif(v_threshold=np.array([1.0, 2.0, 4.0]), v_leak=0.5)
    (_, p) = found(chain(weights(), node))
    assert p.threshold == 4.0 and p.gain is not None
    np.testing.assert_allclose(p.gain, [6.0, 3.0, 1.5])
    # a leak towards 0.5: a quarter of it a step, in units of each neuron's threshold
    np.testing.assert_allclose(p.bias, [0.5, 0.25, 0.125])


def test_decays_of_their_own_are_kept_to_be_split() -> None:
    (_, p) = found(chain(weights(), lif(tau=np.array([2e-4, 2e-4, 4e-4]))))
    assert p.decays is not None
    np.testing.assert_allclose(p.decays, [[0, 0, 0], [0.5, 0.5, 0.75]])
    (_, same) = found(chain(weights(), lif()))
    assert same.decays is None


def test_a_threshold_node_keeps_nothing_of_its_membrane() -> None:
    (_, p) = found(chain(weights(), nir.Threshold(full(0.5))))
    assert (p.kind, p.beta, p.keep, p.threshold) == ("spiking", 0.0, 0.0, 0.5)


def test_signals_are_laid_out_as_images() -> None:
    values = np.ones((2, 4))
    node = nir.IF(values, values, 0 * values)
    ends = {"input": nir.Input(np.array([2, 4])), "output": nir.Output(np.array([2, 4]))}
    graph = nir.NIRGraph({**ends, "n": node}, [("input", "n"), ("n", "output")], type_check=False)
    options = Options("loihi2", DT, 5, 8, InputPopulation("input", (2, 1, 4)), None)
    shapes = [p.shape for p in populations(Lowering(graph, options)).populations]
    assert shapes == [(2, 1, 4), (2, 1, 4)]
