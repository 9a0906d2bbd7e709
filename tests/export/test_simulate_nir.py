"""The reference simulator against hand-derived trains, scipy's filters and torch's layers."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch.nn import functional

from neurokd.errors import NeurokdError, ShapeMismatchError, UnsupportedNodeError
from neurokd.export import simulate_nir


def chain(node: nir.NIRNode, shape: tuple[int, ...], out: tuple[int, ...]) -> nir.NIRGraph:
    return nir.NIRGraph(
        nodes={"input": nir.Input(np.array(shape)), "n": node, "output": nir.Output(np.array(out))},
        edges=[("input", "n"), ("n", "output")],
        type_check=False,
    )


def full(value: float, n: int = 1) -> np.ndarray:
    return np.full(n, value)


def test_lif_by_hand_fires_strictly_above_and_resets() -> None:
    # β = ½: v = 1, 1.5, 1.75, 0.5·1.75+1.25 = 2.125 → spike, then from 0; at exactly 2 no spike
    node = nir.LIF(full(2e-4), full(2.0), full(0.0), full(2.0), full(0.0))
    x = np.array([1, 1, 1, 1.25, 2, 1, 0.5, 4]).reshape(-1, 1, 1)
    run = simulate_nir(chain(node, (1,), (1,)), x, dt=1e-4)
    # after the reset: 2 (no), 2 (no), 1.5 (no), 4.75 (spike)
    np.testing.assert_array_equal(run.output.ravel(), [0, 0, 0, 1, 0, 0, 0, 1])


def test_v_leak_and_v_reset_are_honoured() -> None:
    node = nir.LIF(full(4e-4), full(1.0), full(8.0), full(3.0), full(-1.0))
    # v += ¼ (8 − v + x): 2, 3.5 → spike → −1, 1.25, 2.9375, 4.203 → spike
    run = simulate_nir(chain(node, (1,), (1,)), np.zeros((5, 1, 1)))
    np.testing.assert_array_equal(run.output.ravel(), [0, 1, 0, 0, 1])


def test_integrators_are_linear_filters() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3, 2))
    beta = np.array([0.5, 0.9])
    li = nir.LI(1e-4 / (1 - beta), np.array([2.0, 3.0]), np.zeros(2))
    run = simulate_nir(chain(li, (2,), (2,)), x)
    for i, r in enumerate((2.0, 3.0)):
        expected = lfilter([(1 - beta[i]) * r], [1, -beta[i]], x[..., i], axis=0)
        np.testing.assert_allclose(run.output[..., i], expected, atol=1e-12)
    i_node = nir.I(full(1e4, 2))
    np.testing.assert_allclose(
        simulate_nir(chain(i_node, (2,), (2,)), x).output, np.cumsum(x, axis=0), atol=1e-12
    )


def test_cuba_li_is_two_filters_in_a_row() -> None:
    x = np.random.default_rng(1).normal(size=(40, 2, 1))
    node = nir.CubaLI(full(5e-4), full(1e-3), full(10.0), full(0.0), full(5.0))
    current = lfilter([1.0], [1, -0.8], x, axis=0)
    expected = lfilter([1.0], [1, -0.9], current, axis=0)
    run = simulate_nir(chain(node, (1,), (1,)), x)
    np.testing.assert_allclose(run.output, expected, atol=1e-9)


@pytest.mark.parametrize("groups", [1, 2])
def test_conv2d_is_torch_s(groups: int) -> None:
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(4, 4 // groups, 3, 2))
    bias = rng.normal(size=4)
    node = nir.Conv2d(None, weight, (2, 1), (1, 2), (1, 2), groups, bias)
    x = rng.normal(size=(3, 2, 4, 7, 6))
    expected = functional.conv2d(
        torch.from_numpy(x).flatten(0, 1),
        torch.from_numpy(weight),
        torch.from_numpy(bias),
        (2, 1),
        (1, 2),
        (1, 2),
        groups,
    )
    run = simulate_nir(chain(node, (4, 7, 6), tuple(expected.shape[1:])), x)
    np.testing.assert_allclose(run.output, expected.numpy().reshape(run.output.shape), atol=1e-12)


def test_conv1d_pools_and_flatten_are_torch_s() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 2, 2, 9))
    weight, bias = rng.normal(size=(3, 2, 3)), rng.normal(size=3)
    expected = functional.conv1d(
        torch.from_numpy(x).flatten(0, 1), *map(torch.from_numpy, (weight, bias)), 2, 1, 2
    )
    run = simulate_nir(chain(nir.Conv1d(None, weight, 2, 1, 2, 1, bias), (2, 9), (3, 4)), x)
    np.testing.assert_allclose(run.output, expected.numpy().reshape(run.output.shape), atol=1e-12)
    image = rng.normal(size=(2, 2, 3, 6, 8))
    pair = [np.array(p) for p in ((3, 2), (2, 3), (1, 1))]
    for kind, factor in ((nir.AvgPool2d, 1), (nir.SumPool2d, 6)):
        expected = functional.avg_pool2d(
            torch.from_numpy(image).flatten(0, 1), (3, 2), (2, 3), (1, 1)
        )
        run = simulate_nir(chain(kind(*pair), (3, 6, 8), tuple(expected.shape[1:])), image)
        np.testing.assert_allclose(
            run.output, factor * expected.numpy().reshape(run.output.shape), atol=1e-12
        )
    flat = nir.Flatten({"input": np.array([3, 6, 8])}, start_dim=1, end_dim=-1)
    run = simulate_nir(chain(flat, (3, 6, 8), (3, 48)), image)
    np.testing.assert_array_equal(run.output, image.reshape(2, 2, 3, 48))


def test_threshold_scale_delay_and_summed_edges() -> None:
    x = np.arange(6.0).reshape(6, 1, 1) * np.ones(2)
    graph = nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([2])),
            "delay": nir.Delay(np.array([0.0, 2e-4])),
            "scale": nir.Scale(np.array([10.0, -1.0])),
            "threshold": nir.Threshold(np.array([22.0, -2.0])),
            "output": nir.Output(np.array([2])),
        },
        edges=[
            ("input", "delay"),
            ("input", "scale"),
            ("delay", "threshold"),
            ("scale", "threshold"),
            ("threshold", "output"),
        ],
    )
    run = simulate_nir(graph, x)
    np.testing.assert_array_equal(run.records["delay"][:, 0, 1], [0, 0, 0, 1, 2, 3])
    # 11 t > 22 and max(t − 2, 0) − t > −2
    np.testing.assert_array_equal(run.output[:, 0, 0], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(run.output[:, 0, 1], [1, 1, 0, 0, 0, 0])


def test_refusals_are_typed() -> None:
    graph = chain(nir.I(full(1.0, 2)), (2,), (2,))
    with pytest.raises(ShapeMismatchError, match="T, B, 2"):
        simulate_nir(graph, np.zeros((3, 1, 5)))
    endless = loop({"w": nir.Linear(np.eye(2)), "n": nir.Scale(np.ones(2))})
    with pytest.raises(UnsupportedNodeError, match="loop holds no neuron.*→"):
        simulate_nir(endless, np.zeros((3, 1, 2)))
    too_short = loop({"w": nir.Linear(np.eye(2)), "n": nir.Delay(np.array([0.0, 1e-4]))})
    with pytest.raises(UnsupportedNodeError, match="loop holds no neuron"):
        simulate_nir(too_short, np.zeros((3, 1, 2)))
    delayed = chain(nir.Delay(np.array([1.5e-4])), (1,), (1,))
    with pytest.raises(NeurokdError, match="whole number"):
        simulate_nir(delayed, np.zeros((3, 1, 1)))


def loop(nodes: dict[str, nir.NIRNode]) -> nir.NIRGraph:
    """input → n → output, and n → w → n."""
    shape = np.array([2])
    return nir.NIRGraph(
        nodes={"input": nir.Input(shape), **nodes, "output": nir.Output(shape)},
        edges=[("input", "n"), ("n", "w"), ("w", "n"), ("n", "output")],
        type_check=False,
    )


def test_a_loop_brings_the_output_of_the_step_before_and_a_bias_from_the_first() -> None:
    # n: v += x + back; back(t) = 2 · s(t−1) + 0.5, with s(−1) = 0 at rest
    nodes = {
        "n": nir.IF(full(1e4, 2), full(2.0, 2), full(0.0, 2)),
        "w": nir.Affine(2 * np.eye(2), full(0.5, 2)),
    }
    run = simulate_nir(loop(nodes), np.array([1, 1, 0, 0, 0]).reshape(-1, 1, 1) * np.ones(2))
    # v: 1.5; 3 → spike; 2.5 → spike; 2.5 → spike; 2.5 → spike
    np.testing.assert_array_equal(run.output[:, 0, 0], [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(run.records["w"][:, 0, 0], [0.5, 2.5, 2.5, 2.5, 2.5])


def test_a_delay_in_a_loop_takes_exactly_its_time() -> None:
    # y(t) = x(t) + ½ y(t − k), k = 1 and 2
    nodes = {"n": nir.Scale(np.ones(2)), "w": nir.Scale(full(0.5, 2))}
    graph = loop(nodes)
    graph.nodes["d"] = nir.Delay(np.array([1e-4, 2e-4]))
    graph.edges = [("input", "n"), ("n", "w"), ("w", "d"), ("d", "n"), ("n", "output")]
    x = np.zeros((5, 1, 2))
    x[0] = 1
    run = simulate_nir(graph, x)
    np.testing.assert_array_equal(run.output[:, 0, 0], [1, 0.5, 0.25, 0.125, 0.0625])
    np.testing.assert_array_equal(run.output[:, 0, 1], [1, 0, 0.5, 0, 0.25])


def test_feedback_over_two_layers_delays_only_the_way_back() -> None:
    unit = {"r": full(1e4), "v_threshold": full(0.5), "v_reset": full(0.0)}
    graph = nir.NIRGraph(
        nodes={
            "output": nir.Output(np.array([1])),
            "b": nir.IF(**unit),
            "a": nir.IF(**unit),
            "input": nir.Input(np.array([1])),
        },
        edges=[("b", "a"), ("a", "b"), ("b", "output"), ("input", "a")],
        type_check=False,
    )
    run = simulate_nir(graph, np.array([1.0, 0, 0]).reshape(-1, 1, 1))
    # the first spike of a reaches b in its own step, that of b reaches a one step later
    for name in ("a", "b"):
        np.testing.assert_array_equal(run.records[name].ravel(), [1, 1, 1])


def test_a_delay_back_into_a_loop_leaves_the_way_forward_as_it_was() -> None:
    """a → b → a, and b again through a Delay of weight w: with w = 0 it is as if it were not there.

    a(t) = x(t) + ½ b(t − 1); b(t) = a(t) + w b(t − 2).
    """
    for weight, expected in ((0.0, [1, 0.5, 0.25, 0.125]), (1.0, [1, 0.5, 1.25, 1.125])):
        nodes = {
            "input": nir.Input(np.array([1])),
            "a": nir.Scale(full(1.0)),
            "b": nir.LI(full(1e-4), full(1.0), full(0.0)),  # τ = dt: v is what arrives
            "back": nir.Scale(full(0.5)),
            "delay": nir.Delay(full(2e-4)),
            "again": nir.Scale(full(weight)),
            "output": nir.Output(np.array([1])),
        }
        edges = [("input", "a"), ("a", "b"), ("b", "back"), ("back", "a"), ("b", "output")]
        edges += [("b", "delay"), ("delay", "again"), ("again", "b")]
        run = simulate_nir(nir.NIRGraph(nodes, edges, type_check=False), np.eye(4)[:, :1, None])
        np.testing.assert_array_equal(run.output.ravel(), expected)


def test_a_recurrent_layer_is_snntorch_s() -> None:
    snntorch = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    cell = snntorch.RLeaky(
        beta=0.8, linear_features=5, reset_mechanism="zero", reset_delay=False
    ).double()
    x = torch.rand(40, 3, 5, dtype=torch.float64) * 2
    spikes, membrane = (z.double() for z in cell.init_rleaky())
    expected = []
    with torch.no_grad():
        for step in x:
            spikes, membrane = cell(step, spikes.double(), membrane)
            expected.append(spikes.numpy())
    recurrent = cell.recurrent
    lif = nir.LIF(full(5e-4, 5), full(5.0, 5), full(0.0, 5), full(1.0, 5), full(0.0, 5))
    graph = nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([5])),
            "lif": lif,
            "w": nir.Affine(recurrent.weight.detach().numpy(), recurrent.bias.detach().numpy()),
            "output": nir.Output(np.array([5])),
        },
        edges=[("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")],
        type_check=False,
    )
    run = simulate_nir(graph, x.numpy())
    assert 100 < np.sum(expected) < 500
    np.testing.assert_array_equal(run.output, np.array(expected))


def test_nested_graphs_are_the_flat_ones() -> None:
    rng = np.random.default_rng(5)
    inner = chain(nir.Linear(rng.normal(size=(3, 2))), (2,), (3,))
    middle = chain(inner, (2,), (3,))
    graph = chain(middle, (2,), (3,))
    x = rng.normal(size=(4, 2, 2))
    run = simulate_nir(graph, x)
    np.testing.assert_array_equal(run.records["n.n.n"], run.output)
    flat = simulate_nir(chain(inner.nodes["n"], (2,), (3,)), x)
    np.testing.assert_array_equal(run.output, flat.output)
    assert list(graph.nodes) == ["input", "n", "output"]
    twice = chain(chain(nir.Scale(np.ones(2)), (2,), (2,)), (2,), (2,))
    twice.nodes["n"].nodes["more"] = nir.Input(np.array([2]))
    with pytest.raises(UnsupportedNodeError, match="node 'n'.*exactly one Input"):
        simulate_nir(twice, x)
    straight = chain(nir.Scale(np.ones(2)), (2,), (2,))
    straight.nodes["n"] = nir.NIRGraph(
        {"i": nir.Input(np.array([2])), "o": nir.Output(np.array([2]))}, [("i", "o")]
    )
    straight.edges.append(("input", "output"))
    with pytest.raises(UnsupportedNodeError, match="two edges the same"):
        simulate_nir(straight, x)
