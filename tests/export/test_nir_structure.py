"""Shapes and order of NIR graphs: right where nir's own inference is not, and in linear time."""

from __future__ import annotations

import time

import nir
import numpy as np
import pytest

from neurokd.errors import NeurokdError, ShapeMismatchError, UnsupportedNodeError
from neurokd.export.nir_structure import declared_shape, node_shapes, topological_order


def chain(node: nir.NIRNode, shape: tuple[int, ...], out: tuple[int, ...]) -> nir.NIRGraph:
    return nir.NIRGraph(
        nodes={"input": nir.Input(np.array(shape)), "n": node, "output": nir.Output(np.array(out))},
        edges=[("input", "n"), ("n", "output")],
        type_check=False,
    )


def test_rectangular_and_grouped_convolutions() -> None:
    conv = nir.Conv2d(None, np.ones((4, 1, 3, 2)), (2, 1), (0, 1), (1, 2), 2, np.ones(4))
    # (7 − 2 − 1) // 2 + 1 = 3; 6 + 2 − 2 − 1 + 1 = 6
    assert node_shapes(chain(conv, (2, 7, 6), (4, 3, 6)))["n"].output == (4, 3, 6)


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        (nir.SumPool2d(np.array([2.5, 2]), np.array([1, 1]), np.array([0, 0])), (1, 4, 4)),
        (nir.SumPool2d(np.array([2, 2, 2]), np.array([1, 1]), np.array([0, 0])), (1, 4, 4)),
        (nir.SumPool2d(np.array([0, 2]), np.array([1, 1]), np.array([0, 0])), (1, 4, 4)),
        (nir.SumPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, -(2**63)])), (1, 4, 4)),
        (nir.Conv2d(None, np.ones((3, 1, 1, 1)), 1, 0, 1, 2, np.ones(3)), (2, 4, 4)),
        (nir.Conv2d(None, np.ones((3, 1, 1, 1)), 1, 0, 1, 0, np.ones(3)), (1, 4, 4)),
        (nir.Conv1d(None, np.ones((3, 1, 1)), np.array([1, 1]), 0, 1, 1, np.ones(3)), (1, 4)),
        (nir.Flatten({"input": None}, 0, 2), (2, 4)),
    ],
    ids=["half", "three", "zero", "overflow", "groups", "no groups", "strides", "dimension"],
)
def test_what_numpy_would_round_or_overflow_is_refused(
    node: nir.NIRNode, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ShapeMismatchError, match="node 'n'"):
        node_shapes(chain(node, shape, (1,)))


@pytest.mark.parametrize("shape", [[2, 0], [-1], [2.5], [[1, 2]], [1 << 40], "many"])
def test_an_input_states_a_shape(shape: object) -> None:
    with pytest.raises(ShapeMismatchError, match="node 'input'"):
        declared_shape("input", np.array(shape))


def test_the_time_is_linear_in_the_edges() -> None:
    count = 20_000
    names = ["input", *map(str, range(count)), "output"]
    nodes: dict[str, nir.NIRNode] = {name: nir.Scale(np.ones(1)) for name in names[1:-1]}
    ends = {"input": nir.Input(np.array([1])), "output": nir.Output(np.array([1]))}
    # from the end: a pass over the edges in this order finds one node
    edges = list(zip(names, names[1:], strict=False))[::-1]
    graph = nir.NIRGraph({**ends, **nodes}, edges, type_check=False)
    begun = time.perf_counter()
    assert len(node_shapes(graph)) == count + 2
    assert time.perf_counter() - begun < 5  # 0.3 s; quadratic, over 20 s


def test_lost_nodes_and_loops_have_names() -> None:
    graph = chain(nir.Scale(np.ones(1)), (1,), (1,))
    graph.nodes["lost"] = nir.Scale(np.ones(1))
    with pytest.raises(UnsupportedNodeError, match="'lost'"):
        node_shapes(graph)
    graph.edges += [("n", "lost"), ("lost", "n")]
    assert node_shapes(graph)["lost"].output == (1,)
    with pytest.raises(NeurokdError, match="feedback loop"):
        topological_order(graph)
