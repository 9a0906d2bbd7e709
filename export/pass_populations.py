"""Pass: every neuron node of NIR becomes a float population with the chip's equation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import nir
import numpy as np

from neurokd.export.float_network import FloatPopulation
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering, refuse
from neurokd.export.nir_structure import NEURONS, Shape, node_shapes, predecessors

LINEAR = (
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
    """The populations, the input first; nothing of the graph is passed over.

    Equation: β = 1 − dt/τ; the input's gain is r dt/τ, times w_in dt/τ_syn where a synapse
    filters; a v_leak is a bias of dt/τ v_leak. Where thresholds differ, a neuron's gain is divided
    by its own over the largest one, which becomes everybody's: its membrane then is in units of
    its threshold. A Threshold is a neuron that keeps nothing of its membrane.

    Raises: `UnsupportedNodeError` for a node, or a parameter, that the chip does not have.
    """
    graph = state.graph
    shapes = node_shapes(graph)
    inputs: list[FloatPopulation] = []
    neurons: list[FloatPopulation] = []
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Input):
            shape = state.options.input.shape if not inputs else shapes[name].output
            inputs.append(FloatPopulation(name, shape, "input", np.zeros(shape)))
        elif isinstance(node, NEURONS):
            _check_place(graph, name, node)
            neurons.append(_population(name, node, _image(shapes[name].output), state.options.dt))
        elif isinstance(node, nir.Threshold):
            neurons.append(_threshold(name, node, _image(shapes[name].output)))
        elif not isinstance(node, (*LINEAR, nir.Delay, nir.Output)):
            raise refuse(
                name, f"{type(node).__name__} has no form on this chip", "use LIF or IF neurons"
            )
    return replace(state, populations=(*inputs, *neurons))


def _image(shape: Shape) -> Shape:
    """Signals (C, N) as images (C, 1, N), so that convolutions over them are the chip's own."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


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
    cuba = isinstance(node, (nir.CubaLI, nir.CubaLIF))
    spiking = isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF))
    keep, beta = np.zeros(shape), np.ones(shape)
    gain = dt * _field(node, "r", shape)
    bias = np.zeros(shape)
    if not isinstance(node, (nir.I, nir.IF)):
        leak = dt / _field(node, "tau_mem" if cuba else "tau", shape)
        beta, gain = 1.0 - leak, leak * _field(node, "r", shape)
        bias = leak * _field(node, "v_leak", shape)
    if cuba:
        filtering = dt / _field(node, "tau_syn", shape)
        keep = 1.0 - filtering
        gain = gain * filtering * _field(node, "w_in", shape)
    outside = ~((np.rint(4096 * beta) > 0) & (beta <= 1.0))
    outside |= ~((np.rint(4096 * keep) >= 0) & (np.rint(4096 * keep) <= 4095))
    if outside.any():
        raise refuse(
            name,
            "this decay has no 12-bit form on the chip",
            "choose τ > dt, or pass the dt that the graph was made for",
            f"β = {beta[outside][0]:g}, synapse keeps {keep[outside][0]:g}",
        )
    kind: Literal["spiking", "accumulator"] = "spiking" if spiking else "accumulator"
    found = FloatPopulation(name, shape, kind, bias, gain=gain)
    if spiking:
        _require_zero(name, node, "v_reset")
        found = _with_threshold(found, _field(node, "v_threshold", shape))
    keep, beta = _settled(keep), _settled(beta)
    if np.ptp(keep) or np.ptp(beta):
        return replace(found, decays=np.stack([keep, beta]))
    return replace(found, keep=float(keep.flat[0]), beta=float(beta.flat[0]))


def _threshold(name: str, node: nir.Threshold, shape: Shape) -> FloatPopulation:
    found = FloatPopulation(name, shape, "spiking", np.zeros(shape), beta=0.0, gain=np.ones(shape))
    return _with_threshold(found, _field(node, "threshold", shape))


def _with_threshold(population: FloatPopulation, thresholds: Floats) -> FloatPopulation:
    """One threshold for all, the largest; gain and bias of each neuron in its units."""
    assert population.gain is not None
    if not (thresholds > 0).all():
        raise refuse(
            population.name,
            "the threshold must be positive",
            "train with v_threshold > 0",
            f"{thresholds.min():g}",
        )
    thresholds = _settled(thresholds)
    common = float(thresholds.max())
    ratio = common / thresholds
    return replace(
        population, threshold=common, gain=population.gain * ratio, bias=population.bias * ratio
    )


def _settled(values: Floats) -> Floats:
    """Values that differ by rounding only are the same."""
    first = values.flat[0]
    return np.full_like(values, first) if np.allclose(values, first, 1e-6, 0.0) else values


def _field(node: Any, field: str, shape: Shape) -> Floats:
    values: Floats = np.asarray(getattr(node, field), dtype=np.float64)
    return np.broadcast_to(values, shape).copy() if not values.ndim else values.reshape(shape)


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
