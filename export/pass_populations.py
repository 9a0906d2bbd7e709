"""Pass: every neuron node of NIR becomes a float population with the chip's equation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurokd.export.float_network import FloatPopulation
from neurokd.export.lowering import Lowering, refuse
from neurokd.export.nir_structure import (
    NEURONS,
    Shape,
    node_shapes,
    predecessors,
    topological_order,
)

_LINEAR = (
    nir.Affine,
    nir.Linear,
    nir.Scale,
    nir.Conv1d,
    nir.Conv2d,
    nir.SumPool2d,
    nir.AvgPool2d,
    nir.Flatten,
)


def populations(state: Lowering) -> Lowering:
    """The populations in topological order; nothing of the graph is passed over.

    Raises: `UnsupportedNodeError` for a node, or a parameter, that the chip does not have.
    """
    graph = state.graph
    shapes = node_shapes(graph)
    found = []
    for name in topological_order(graph):
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            shape = shapes[name].output
            found.append(FloatPopulation(name, shape, "input", np.zeros(shape)))
        elif isinstance(node, NEURONS):
            _check_place(graph, name, node)
            found.append(_population(name, node, shapes[name].output, state.options.dt))
        elif not isinstance(node, (*_LINEAR, nir.Output)):
            raise refuse(
                name, f"{type(node).__name__} has no form on this chip", "use LIF or IF neurons"
            )
    return replace(state, populations=tuple(found))


def _check_place(graph: nir.NIRGraph, name: str, node: Any) -> None:
    if isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF)):
        return
    readers = [target for source, target in graph.edges if source == name]
    if not all(isinstance(graph.nodes[reader], nir.Output) for reader in readers):
        raise refuse(
            name,
            f"{type(node).__name__} does not spike, so nothing on the chip can read it",
            "use it as the last neuron only",
            f"read by {', '.join(readers)}",
        )


def _population(name: str, node: Any, shape: Shape, dt: float) -> FloatPopulation:
    """β = 1 − dt/τ; the input's gain is r dt/τ, times w_in dt/τ_syn where a synapse filters."""
    cuba = isinstance(node, (nir.CubaLI, nir.CubaLIF))
    spiking = isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF))
    keep, beta = 0.0, 1.0
    gain = dt * _uniform(name, node, "r")
    if not isinstance(node, (nir.I, nir.IF)):
        leak = dt / _uniform(name, node, "tau_mem" if cuba else "tau")
        beta, gain = 1.0 - leak, leak * _uniform(name, node, "r")
        _require_zero(name, node, "v_leak")
    if cuba:
        filtering = dt / _uniform(name, node, "tau_syn")
        keep = 1.0 - filtering
        gain *= filtering * _uniform(name, node, "w_in")
    threshold = 0.0
    if spiking:
        _require_zero(name, node, "v_reset")
        threshold = _uniform(name, node, "v_threshold")
        if not threshold > 0:
            raise refuse(
                name, "the threshold must be positive", "train with threshold > 0", f"{threshold:g}"
            )
    if not 0 < round(4096 * beta) <= 4096 or not 0 <= round(4096 * keep) <= 4095:
        raise refuse(
            name,
            "this decay has no 12-bit form on the chip",
            "choose τ > dt, or pass the dt that the graph was made for",
            f"β = {beta:g}, synapse keeps {keep:g}",
        )
    kind = "spiking" if spiking else "accumulator"
    return FloatPopulation(name, shape, kind, np.zeros(shape), keep, beta, threshold, gain)  # type: ignore[arg-type]


def _uniform(name: str, node: Any, field: str) -> float:
    values = np.asarray(getattr(node, field), dtype=np.float64)
    value = float(values.flat[0])
    if not np.allclose(values, value, rtol=1e-6, atol=0.0):
        raise refuse(
            name,
            f"{field} differs from neuron to neuron; a population has one",
            f"train with one {field} a layer",
            f"{values.min():g} … {values.max():g}",
        )
    return value


def _require_zero(name: str, node: Any, field: str) -> None:
    values = np.asarray(getattr(node, field))
    if np.any(values != 0):
        raise refuse(
            name,
            f"{field} must be 0 on this chip",
            f"train with {field} = 0",
            f"{values.flat[0]:g}",
        )


def check_populations(state: Lowering) -> None:
    """One input; one neuron population, and nothing else, into the output."""
    inputs = [p.name for p in state.populations if p.kind == "input"]
    if len(inputs) != 1:
        raise refuse("input", "a network has exactly one input", "merge them", ", ".join(inputs))
    sources = predecessors(state.graph)
    outputs = [n for n, node in state.graph.nodes.items() if isinstance(node, nir.Output)]
    if len(outputs) != 1:
        raise refuse("output", "a network has exactly one output", "merge them", ", ".join(outputs))
    neurons = {p.name for p in state.populations} - set(inputs)
    feeding = sources[outputs[0]]
    if len(feeding) != 1 or feeding[0] not in neurons:
        raise refuse(
            outputs[0],
            "the output must come from one neuron layer",
            "end the network with spiking neurons or with an Accumulator (nir.I)",
            ", ".join(f"{name}: {type(state.graph.nodes[name]).__name__}" for name in feeding),
        )
