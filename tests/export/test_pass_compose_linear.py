"""Composition keeps what the graph computes, and the form that each chain of nodes deserves."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from neurokd.errors import UnsupportedNodeError
from neurokd.export import compose_chain, simulate_nir
from neurokd.export.float_network import FloatProjection
from neurokd.export.float_run import run_float
from neurokd.export.lower import lowering
from neurokd.export.lowering import Lowering, Options
from neurokd.export.pass_compose_linear import compose_linear
from neurokd.export.pass_populations import populations
from neurokd.hardware.emulator import emulate
from neurokd.hardware.population import InputPopulation

RNG = np.random.default_rng(0)
BIAS = RNG.normal(size=4)
POOL = nir.SumPool2d(*(np.array([n, n]) for n in (2, 2, 0)))
CONV = nir.Conv2d((3, 3), RNG.normal(size=(4, 2, 2, 2)), (1, 1), (1, 1), (2, 2), 1, BIAS)


def state(
    chain: list[nir.NIRNode], shape: tuple[int, ...], out: tuple[int, ...], skip: bool = False
) -> Lowering:
    nodes = {"input": nir.Input(np.array(shape))}
    nodes |= {f"n{i}": node for i, node in enumerate(chain)}
    nodes["lif"] = nir.LIF(*(np.full(out, v) for v in (2e-4, 3.0, 0.0, 0.7, 0.0)))
    nodes["output"] = nir.Output(np.array(out))
    names = list(nodes)
    edges = list(zip(names, names[1:], strict=False)) + ([("input", "lif")] if skip else [])
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    options = Options("loihi2", 1e-4, 5, 8, InputPopulation("input", shape), None)
    return compose_linear(populations(Lowering(graph, options)))


def only(lowering: Lowering) -> FloatProjection:
    (projection,) = lowering.floats.projections
    return projection


@pytest.mark.parametrize(
    ("chain", "shape", "out", "form"),
    [
        ([CONV], (2, 3, 3), (4, 3, 3), (4, 2, 2, 2)),
        ([POOL, CONV], (2, 6, 6), (4, 3, 3), (4, 2, 6, 6)),
        # padding after a pool that leaves a row out cannot be one convolution
        ([POOL, CONV], (2, 7, 7), (4, 3, 3), (512,)),
        ([POOL], (2, 6, 6), (2, 3, 3), (2, 1, 2, 2)),
        ([], (2, 3, 3), (2, 3, 3), (2, 1, 1, 1)),
        (
            [POOL, nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
             nir.Affine(RNG.normal(size=(4, 18)), BIAS)],
            (2, 6, 6), (4,), (4, 72),
        ),
        (
            [nir.Linear(RNG.normal(size=(3, 4))), nir.Affine(RNG.normal(size=(4, 3)), BIAS)],
            (4,), (4,), (4, 4),
        ),
    ],
)  # fmt: skip
def test_what_is_computed_is_kept(
    chain: list[nir.NIRNode], shape: tuple[int, ...], out: tuple[int, ...], form: tuple[int, ...]
) -> None:
    lowering = state(chain, shape, out)
    assert only(lowering).weight.shape == form
    x = np.random.default_rng(1).normal(size=(5, 3, *shape))
    records, peaks = run_float(lowering.floats, x)
    expected = simulate_nir(lowering.graph, x).output
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(records["lif"], expected)
    assert peaks["lif"].current > 0


def test_the_populations_come_in_the_order_of_the_edges() -> None:
    lowering = state([nir.Linear(np.eye(4))], (4,), (4,))
    lowering.graph.nodes = dict(reversed(lowering.graph.nodes.items()))
    again = compose_linear(populations(Lowering(lowering.graph, lowering.options)))
    assert [p.name for p in again.floats.populations] == ["input", "lif"]


def test_factors_a_channel_fold_into_a_convolution() -> None:
    before, after = nir.Scale(np.ones((2, 3, 3))), nir.Scale(np.ones((4, 3, 3)))
    before.scale[1], after.scale[2] = 0.5, 3.0
    lowering = state([before, CONV, after], (2, 3, 3), (4, 3, 3))
    weight = only(lowering).weight
    # gain 1.5
    np.testing.assert_allclose(weight[0, 1], 1.5 * 0.5 * CONV.weight[0, 1])
    np.testing.assert_allclose(weight[2, 0], 1.5 * 3.0 * CONV.weight[2, 0])


def test_a_signal_is_convolved_as_an_image_of_height_one() -> None:
    conv = nir.Conv1d(5, RNG.normal(size=(3, 2, 3)), 2, 1, 1, 1, RNG.normal(size=3))
    nodes = {
        "input": nir.Input(np.array([2, 5])),
        "conv": conv,
        "lif": nir.LIF(*(np.full((3, 3), v) for v in (2e-4, 3.0, 0.0, 0.7, 0.0))),
        "output": nir.Output(np.array([3, 3])),
    }
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(zip(names, names[1:], strict=False)), type_check=False)
    options = Options("loihi2", 1e-4, 5, 8, InputPopulation("input", (2, 1, 5)), None)
    lowering = compose_linear(populations(Lowering(graph, options)))
    assert only(lowering).weight.shape == (3, 2, 1, 3)
    x = np.random.default_rng(1).normal(size=(5, 3, 2, 5))
    records, _ = run_float(lowering.floats, x[:, :, :, None])
    expected = simulate_nir(graph, x).output
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(records["lif"][:, :, :, 0], expected)


def test_what_differs_inside_a_channel_is_written_out() -> None:
    lowering = state([CONV], (2, 3, 3), (4, 3, 3))
    lowering.graph.nodes["lif"].v_threshold = RNG.uniform(0.3, 1.0, size=(4, 3, 3))
    again = compose_linear(populations(Lowering(lowering.graph, lowering.options)))
    assert only(again).ends is not None
    x = np.random.default_rng(1).normal(size=(5, 3, 2, 3, 3))
    expected = simulate_nir(again.graph, x).output
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(run_float(again.floats, x)[0]["lif"], expected)


@pytest.mark.parametrize(
    ("where", "lags"), [("before", [[0, 2], [0, 2]]), ("after", [[0, 0], [2, 2]])]
)
def test_delays_belong_to_the_synapses_next_to_them(where: str, lags: list[list[int]]) -> None:
    delay = nir.Delay(np.array([1, 3]) * 1e-4)
    weight = nir.Linear(np.array([[1.0, 2.0], [3.0, 4.0]]))
    chain = [delay, weight] if where == "before" else [weight, delay]
    projection = only(state(chain, (2,), (2,)))
    assert projection.lag == 1 and projection.lags is not None
    assert projection.lags.tolist() == lags


def test_delays_between_linear_nodes_are_refused() -> None:
    square = nir.Linear(np.ones((2, 2)))
    with pytest.raises(UnsupportedNodeError, match="belong to no synapse") as caught:
        state([square, nir.Delay(np.array([1, 3]) * 1e-4), square], (2,), (2,))
    assert caught.value.where == "node 'n1'"


def test_a_loop_of_one_step_is_a_lag_of_one() -> None:
    lowering = state([nir.Linear(np.eye(3))], (3,), (3,))
    graph = lowering.graph
    graph.nodes["back"] = nir.Affine(np.full((3, 3), 0.5), np.full(3, 0.25))
    graph.edges += [("lif", "back"), ("back", "lif")]
    found = compose_linear(populations(Lowering(graph, lowering.options))).floats
    loops = [(p.name, p.lag, p.recurrent) for p in found.projections]
    assert loops == [("n0", 0, False), ("back", 1, True)]
    # gain 1.5; the loop's bias is there from the first step
    np.testing.assert_allclose(found.population("lif").bias, 0.375)
    x = np.random.default_rng(1).normal(size=(6, 4, 3))
    expected = simulate_nir(graph, x).output
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(run_float(found, x)[0]["lif"], expected)


def test_a_delay_inside_a_loop_adds_a_path_and_delays_no_other() -> None:
    # lif → w → lif takes a step; lif → Delay → w → lif the Delay's two beside it
    nodes = {
        "input": nir.Input(np.array([3])),
        "lif": nir.IF(np.ones(3), np.full(3, 1.0), np.zeros(3)),
        "w": nir.Linear(np.array([[0.5, -0.25, 0.0], [0.0, 0.5, 0.25], [0.75, 0.0, -0.5]])),
        "late": nir.Delay(np.full(3, 2.0)),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "late"), ("late", "w")]
    graph = nir.NIRGraph(nodes, [*edges, ("lif", "output")], type_check=False)
    x = np.random.default_rng(2).integers(0, 2, size=(12, 6, 3)).astype(float)
    expected = simulate_nir(graph, x, dt=1.0).output
    direct = [edge for edge in graph.edges if "late" not in edge]
    alone = nir.NIRGraph({n: nodes[n] for n in nodes if n != "late"}, direct, type_check=False)
    assert (expected != simulate_nir(alone, x, dt=1.0).output).any()
    # all weights are quarters, on the grid at any scale that is a multiple of 8
    found = lowering(graph, calibration=x, dt=1.0, input_bits=1, scales={"lif": 32.0})
    lags = sorted((p.lag, p.recurrent) for p in found.floats.projections)
    assert lags == [(0, False), (1, True), (3, True)]
    net = found.deployed
    assert net is not None
    run = emulate(net, net.padded(x.astype(np.int32)), engine="torch")
    np.testing.assert_array_equal(run.output[net.latency :], expected)


def test_a_bias_shared_by_two_paths_counts_once() -> None:
    first = nir.Affine(np.eye(4), BIAS)
    lowering = state([first], (4,), (4,), skip=True)
    assert len(lowering.floats.projections) == 2
    # gain = r dt / τ = 1.5
    np.testing.assert_allclose(lowering.floats.population("lif").bias, 1.5 * BIAS)


def test_a_matrix_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose_chain, "MAX_DENSE", 10)
    flatten = nir.Flatten({"input": np.array([2, 6, 6])}, 0, -1)
    with pytest.raises(UnsupportedNodeError, match="large a matrix"):
        state([flatten, nir.Linear(np.ones((4, 72)))], (2, 6, 6), (4,))
