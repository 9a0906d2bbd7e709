"""Written files are complete, deterministic, and the same after reading."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from torch import nn

from neurokd.errors import UsageError
from neurokd.export import read_nir, simulate_nir, trace, write_nir
from neurokd.models.convnet import ConvNet


def test_round_trip_keeps_bytes_and_behaviour(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ConvNet(spiking=True, channels=(3, 5), kernels=(3, 3), strides=(2, 1))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.fill_(0.05)
    graph = trace(model, torch.rand(1, 1, 9, 11), steps=3, dt=1e-3)
    first = write_nir(graph, tmp_path / "sub" / "a.nir")
    read = read_nir(first)
    second = write_nir(read, tmp_path / "b.nir")
    assert first.read_bytes() == second.read_bytes()
    assert read.metadata == graph.metadata and read.edges == graph.edges
    x = np.random.default_rng(0).random((3, 2, 1, 9, 11))
    assert simulate_nir(graph, x).records["stages_0_1"].any()
    np.testing.assert_array_equal(simulate_nir(graph, x).output, simulate_nir(read, x).output)
    for name, node in graph.nodes.items():
        assert type(read.nodes[name]) is type(node)
    # nir's own reader, with its type check, accepts the file too
    assert set(nir.read(first).nodes) == set(graph.nodes)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_name_that_hdf5_would_split_is_refused(tmp_path: Path) -> None:
    graph = nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([1])),
            "a/b": nir.I(np.ones(1)),
            "output": nir.Output(np.array([1])),
        },
        edges=[("input", "a/b"), ("a/b", "output")],
    )
    with pytest.raises(UsageError, match="a/b"):
        write_nir(graph, tmp_path / "x.nir")
    assert not list(tmp_path.iterdir())


def test_what_the_graph_leaves_open_is_filled_in(tmp_path: Path) -> None:
    nodes = {
        "input": nir.Input(np.array([2, 5, 4])),
        "conv": nir.Conv2d(None, np.ones((3, 2, 2, 2)), 1, 0, 1, 1, np.zeros(3)),
        "flat": nir.Flatten({"input": None}, 0, -1),
        "output": nir.Output(np.array([36])),
    }
    edges = [("input", "conv"), ("conv", "flat"), ("flat", "output")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    read = nir.read(write_nir(graph, tmp_path / "x.nir"))
    assert list(read.nodes["conv"].input_shape) == [5, 4]
    assert list(read.nodes["flat"].input_type["input"]) == [3, 4, 3]
    assert graph.nodes["conv"].input_shape is None


def test_a_single_neuron_without_a_shape(tmp_path: Path) -> None:
    nodes = {
        "input": nir.Input(np.array([], dtype=int)),
        "i": nir.I(np.array(1e4)),
        "output": nir.Output(np.array([], dtype=int)),
    }
    graph = nir.NIRGraph(nodes, [("input", "i"), ("i", "output")], type_check=False)
    read = read_nir(write_nir(graph, tmp_path / "x.nir"))
    x = np.arange(3.0)[:, None]
    np.testing.assert_array_equal(simulate_nir(read, x).output[:, 0], [0, 1, 3])


def test_metadata_that_hdf5_cannot_hold_is_refused(tmp_path: Path) -> None:
    graph = nir.NIRGraph.from_list(nir.I(np.ones(1)))
    graph.metadata["author"] = None
    with pytest.raises(UsageError, match="metadata"):
        write_nir(graph, tmp_path / "x.nir")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf, np.array([[1.0, -np.inf]]), np.float32("nan")])
def test_numbers_that_are_not_finite_are_refused(value: object, tmp_path: Path) -> None:
    """`read_nir` would not take the file back."""
    if isinstance(value, np.ndarray):
        graph, field = nir.NIRGraph.from_list(nir.Linear(value)), "weight"
    else:
        graph, field = nir.NIRGraph.from_list(nir.I(np.ones(1))), "r"
        graph.nodes["i"].r = value
    name = next(n for n, node in graph.nodes.items() if hasattr(node, field))
    outer = nir.NIRGraph({"in": graph}, [], type_check=False)
    for refused, where in ((graph, f"node {name!r}"), (outer, f"node 'in.{name}'")):
        with pytest.raises(UsageError, match=f"{field} has values that are not finite") as caught:
            write_nir(refused, tmp_path / "x.nir")
        assert caught.value.where == where and caught.value.remedy
    assert not list(tmp_path.iterdir())
