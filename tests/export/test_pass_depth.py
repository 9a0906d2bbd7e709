"""Depths, and the step in which each population starts."""

from __future__ import annotations

import nir
import numpy as np

from neurokd.export import lower


def graph(bias: tuple[float, float, float], shortcut: bool) -> nir.NIRGraph:
    nodes = {"input": nir.Input(np.array([2]))}
    for i, b in enumerate(bias):
        nodes[f"w{i}"] = nir.Affine(np.eye(2) + 0.5, np.full(2, b))
        nodes[f"l{i}"] = nir.LIF(*(np.full(2, v) for v in (2e-4, 2.0, 0.0, 1.0, 0.0)))
    nodes["output"] = nir.Output(np.array([2]))
    names = list(nodes)
    edges = list(zip(names, names[1:], strict=False))
    return nir.NIRGraph(nodes, [*edges, ("l0", "w2")] if shortcut else edges)


def test_only_biases_and_their_descendants_start_late() -> None:
    for bias, starts in (
        ((0, 0, 0), (1, 1, 1)),
        ((0, 0.25, 0), (1, 3, 4)),
        ((0.25, 0, 0), (2, 3, 4)),
        ((0, 0, 0.25), (1, 1, 4)),
    ):
        net = lower(graph(bias, shortcut=False), steps=2)
        assert tuple(net.population(f"l{i}").start_step for i in range(3)) == starts
        assert [net.depth(f"l{i}") for i in range(3)] == [1, 2, 3]
