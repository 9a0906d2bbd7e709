"""Pass: the linear nodes between two populations become one projection, exactly, in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurokd.export.float_network import (
    ConvGeometry,
    FloatNetwork,
    FloatPopulation,
    FloatProjection,
)
from neurokd.export.linear_maps import Floats, apply_linear
from neurokd.export.lowering import Lowering, refuse
from neurokd.export.nir_structure import Shape, conv_padding, node_shapes, pair, predecessors

MAX_DENSE = 1 << 26
"""Synapses beyond which a composed dense matrix is refused."""
_BLOCK = 256

Chain = tuple[str, ...]
Weights = tuple[Floats, ConvGeometry | None]


def compose_linear(state: Lowering) -> Lowering:
    """Chains of linear nodes as projections; their biases as biases of the target.

    One convolution stays one; sum pooling · convolution is one convolution; a pool, or nothing,
    between images is depthwise; everything else is the dense matrix of the whole chain. The
    neurons' gain is folded in.

    Raises: `UnsupportedNodeError`.
    """
    graph = state.graph
    shapes = {name: shape.output for name, shape in node_shapes(graph).items()}
    names = {p.name for p in state.populations}
    populations = []
    projections: list[FloatProjection] = []
    for population in state.populations:
        if population.kind != "input":
            bias = _arriving_bias(graph, population.name, names, shapes) * population.gain
            if np.any(bias) and population.keep:
                raise refuse(
                    population.name,
                    "a bias before a filtering synapse has no exact form on the chip",
                    "train without bias, or with LIF neurons",
                )
            for source, chain in _chains(graph, population.name, names):
                weight, geometry = _compose(graph, source, chain, population, shapes)
                name = _name(graph, source, chain, population.name, projections)
                projections.append(
                    FloatProjection(
                        name, source, population.name, weight * population.gain, geometry
                    )
                )
            population = replace(population, bias=bias, gain=1.0)
        populations.append(population)
    output = next(n for n, node in graph.nodes.items() if isinstance(node, nir.Output))
    network = FloatNetwork(tuple(populations), tuple(projections), predecessors(graph)[output][0])
    return replace(state, network=network)


def _chains(graph: nir.NIRGraph, target: str, names: set[str]) -> list[tuple[str, Chain]]:
    """Every path of linear nodes from a population into ``target``."""
    sources = predecessors(graph)
    found: list[tuple[str, Chain]] = []
    pending: list[tuple[str, Chain]] = [(source, ()) for source in sources[target]]
    while pending:
        name, chain = pending.pop(0)
        if name in names:
            found.append((name, chain))
        else:
            pending.extend((source, (name, *chain)) for source in sources[name])
    return found


def _arriving_bias(
    graph: nir.NIRGraph, target: str, names: set[str], shapes: Mapping[str, Shape]
) -> Floats:
    """What arrives while all populations are silent."""
    sources = predecessors(graph)

    def silent(name: str) -> Floats:
        if name in names:
            return np.zeros((1, *shapes[name]))
        return _linear(name, graph.nodes[name], sum_of(name))

    def sum_of(name: str) -> Floats:
        total = silent(sources[name][0])
        for source in sources[name][1:]:
            total = total + silent(source)
        return total

    bias: Floats = sum_of(target)[0]
    return bias


def _compose(
    graph: nir.NIRGraph,
    source: str,
    chain: Chain,
    target: FloatPopulation,
    shapes: Mapping[str, Shape],
) -> Weights:
    nodes = [graph.nodes[name] for name in chain]
    image = len(shapes[source]) == 3
    if len(nodes) == 1 and isinstance(nodes[0], nir.Conv2d):
        return _convolution(chain[0], nodes[0])
    if len(nodes) == 1 and isinstance(nodes[0], (nir.Affine, nir.Linear)):
        return np.asarray(nodes[0].weight, dtype=np.float64), None
    if not nodes and image:
        channels = shapes[source][0]
        return np.ones((channels, 1, 1, 1)), ConvGeometry(groups=channels)
    if len(nodes) == 1 and isinstance(nodes[0], (nir.SumPool2d, nir.AvgPool2d)):
        return _depthwise(nodes[0], shapes[source][0])
    if len(nodes) == 2 and isinstance(nodes[0], nir.SumPool2d) and isinstance(nodes[1], nir.Conv2d):
        merged = _pooled_convolution(chain, nodes, shapes[source])
        if merged is not None:
            return merged
    return _dense(graph, chain, shapes[source], target), None


def _convolution(name: str, node: nir.Conv2d) -> Weights:
    geometry = ConvGeometry(
        pair(node.stride), conv_padding(name, node), pair(node.dilation), int(node.groups)
    )
    return np.asarray(node.weight, dtype=np.float64), geometry


def _depthwise(node: Any, channels: int) -> Weights:
    kernel = pair(node.kernel_size)
    value = 1.0 / math.prod(kernel) if isinstance(node, nir.AvgPool2d) else 1.0
    geometry = ConvGeometry(pair(node.stride), pair(node.padding), groups=channels)
    return np.full((channels, 1, *kernel), value), geometry


def _pooled_convolution(chain: Chain, nodes: list[Any], source: Shape) -> Weights | None:
    """Sum over windows, then convolve: each tap of the kernel becomes a window of equal taps.

    None where padding after pooling would have to hide rows that pooling left out.
    """
    pool, node = nodes
    weight, geometry = _convolution(chain[1], node)
    assert geometry is not None
    window, hop = pair(pool.kernel_size), pair(pool.stride)
    pooled = [(source[1 + i] - window[i]) // hop[i] + 1 for i in range(2)]
    whole = all(
        window[i] <= hop[i] and (geometry.padding[i] == 0 or source[1 + i] <= pooled[i] * hop[i])
        for i in range(2)
    )
    if pair(pool.padding) != (0, 0) or not whole or geometry.groups != 1:
        return None
    spread = [geometry.dilation[i] * hop[i] for i in range(2)]
    size = [(weight.shape[2 + i] - 1) * spread[i] + window[i] for i in range(2)]
    merged = np.zeros((*weight.shape[:2], *size))
    for i, j in np.ndindex(*weight.shape[2:]):
        rows = slice(i * spread[0], i * spread[0] + window[0])
        columns = slice(j * spread[1], j * spread[1] + window[1])
        merged[:, :, rows, columns] += weight[:, :, i, j, None, None]
    stride = (geometry.stride[0] * hop[0], geometry.stride[1] * hop[1])
    padding = (geometry.padding[0] * hop[0], geometry.padding[1] * hop[1])
    sizes = [
        (
            (source[1 + i] + 2 * padding[i] - size[i]) // stride[i] + 1,
            (
                pooled[i]
                + 2 * geometry.padding[i]
                - geometry.dilation[i] * (weight.shape[2 + i] - 1)
                - 1
            )
            // geometry.stride[i]
            + 1,
        )
        for i in range(2)
    ]
    if any(ours != theirs for ours, theirs in sizes):
        return None
    return merged, ConvGeometry(stride, padding)


def _dense(graph: nir.NIRGraph, chain: Chain, source: Shape, target: FloatPopulation) -> Floats:
    """The matrix of a chain, by its answers to the unit vectors."""
    inputs, outputs = math.prod(source), math.prod(target.shape)
    if inputs * outputs > MAX_DENSE:
        raise refuse(
            chain[0] if chain else target.name,
            "the linear nodes between two populations make too large a matrix",
            "put neurons between them, or use one convolution",
            f"{outputs} × {inputs}",
        )
    weight = np.empty((outputs, inputs))
    for start in range(0, inputs, _BLOCK):
        count = min(_BLOCK, inputs - start)
        units = np.zeros((count, inputs))
        units[np.arange(count), start + np.arange(count)] = 1.0
        answer = units.reshape(count, *source)
        for name in chain:
            answer = _linear(name, _without_bias(graph.nodes[name]), answer)
        weight[:, start : start + count] = answer.reshape(count, outputs).T
    return weight


def _without_bias(node: Any) -> Any:
    if not hasattr(node, "bias"):
        return node
    bare = copy.copy(node)
    bare.bias = np.zeros_like(node.bias)
    return bare


def _linear(name: str, node: Any, x: Floats) -> Floats:
    answer = apply_linear(name, node, x)
    if answer is None:
        raise refuse(name, f"{type(node).__name__} is not a linear node", "use LIF or IF neurons")
    return answer


def _name(
    graph: nir.NIRGraph, source: str, chain: Chain, target: str, taken: list[FloatProjection]
) -> str:
    weighted = [name for name in chain if hasattr(graph.nodes[name], "weight")]
    base = weighted[-1] if weighted else f"{source}_to_{target}"
    name, count = base, 2
    while any(p.name == name for p in taken):
        name, count = f"{base}_{count}", count + 1
    return name
