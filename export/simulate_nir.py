"""Reference simulation of NIR in float64: the oracle of every export, written to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from neurokd.errors import ShapeMismatchError, UnsupportedNodeError, UsageError
from neurokd.export.linear_maps import Floats, apply_linear
from neurokd.export.nir_structure import (
    NEURONS,
    graph_dt,
    node_shapes,
    predecessors,
    topological_order,
)


@dataclass(frozen=True)
class NIRRun:
    """Outputs of a simulated graph.

    Shapes: ``output`` (T, B, *out); ``records[node]`` (T, B, *shape), what leaves each node: spikes
    of a spiking neuron, v of an integrator.
    """

    output: Floats
    records: Mapping[str, Floats]


def simulate_nir(graph: nir.NIRGraph, x: Any, dt: float | None = None) -> NIRRun:
    """Run an acyclic NIR graph over T steps from a state of zero, by forward Euler.

    Equation: for a LIF v ← v + dt/τ (v_leak − v + r x); s = 1[v > v_threshold]; v ← v_reset if s.
    Several edges into a node are summed. Nothing is delayed but by Delay nodes.

    Shapes: x (T, B, *shape). Units: dt in seconds; without it the graph's metadata, else 1e-4.

    Raises: `ShapeMismatchError`, `UnsupportedNodeError` (cycles, nested graphs, several inputs).
    """
    step = graph_dt(graph, dt)
    signal = np.asarray(x, dtype=np.float64)
    shapes = node_shapes(graph)
    _check_input(graph, signal, shapes)
    sources = predecessors(graph)
    records: dict[str, Floats] = {}
    for name in topological_order(graph):
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            records[name] = signal
            continue
        arriving = records[sources[name][0]]
        for other in sources[name][1:]:
            arriving = arriving + records[other]
        records[name] = _apply(name, node, arriving, step)
    output = next(name for name, node in graph.nodes.items() if isinstance(node, nir.Output))
    return NIRRun(output=records[output], records=records)


def _check_input(graph: nir.NIRGraph, signal: Floats, shapes: Mapping[str, Any]) -> None:
    for kind in (nir.Input, nir.Output):
        names = [name for name, node in graph.nodes.items() if isinstance(node, kind)]
        if len(names) != 1:
            raise UnsupportedNodeError(
                f"a graph needs exactly one {kind.__name__} node",
                where="NIR graph",
                found=", ".join(names) or "none",
            )
    name = next(name for name, node in graph.nodes.items() if isinstance(node, nir.Input))
    if signal.shape[2:] != shapes[name].input or signal.ndim < 2:
        raise ShapeMismatchError(
            "the signal does not fit the graph",
            where=f"node {name!r}",
            expected=f"(T, B, {', '.join(map(str, shapes[name].input))})",
            found=str(signal.shape),
        )


def _apply(name: str, node: Any, x: Floats, dt: float) -> Floats:
    """What leaves a node over all steps; x (T, B, *shape)."""
    if isinstance(node, nir.Output):
        return x
    if isinstance(node, NEURONS):
        return _integrate(node, x, dt)
    if isinstance(node, nir.Threshold):
        return (x > _float(node.threshold)).astype(np.float64)
    if isinstance(node, nir.Delay):
        return _delay(name, node, x, dt)
    merged = apply_linear(name, node, x.reshape(-1, *x.shape[2:]))
    if merged is None:
        raise UnsupportedNodeError(
            f"{type(node).__name__} is not supported", where=f"node {name!r}"
        )
    return merged.reshape(*x.shape[:2], *merged.shape[1:])


def _integrate(node: Any, x: Floats, dt: float) -> Floats:
    """All six neurons: a current that may be filtered, a membrane that may leak."""
    cuba = isinstance(node, (nir.CubaLI, nir.CubaLIF))
    leaky = not isinstance(node, (nir.I, nir.IF))
    spiking = isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF))
    rate = dt * _float(node.r)
    leak = v_leak = np.zeros(())
    if leaky:
        leak = dt / _float(node.tau_mem if cuba else node.tau)
        rate = leak * _float(node.r)
        v_leak = _float(node.v_leak)
    current = np.zeros_like(x[0])
    v = np.zeros_like(x[0])
    output = np.empty_like(x)
    for t, arriving in enumerate(x):
        if cuba:
            # the membrane sees the current of this step, as in snnTorch, spikingjelly and Loihi
            current = current + dt / _float(node.tau_syn) * (_float(node.w_in) * arriving - current)
        else:
            current = arriving
        v = v + leak * (v_leak - v) + rate * current
        if spiking:
            spikes = v > node.v_threshold
            v = np.where(spikes, _float(node.v_reset), v)
            output[t] = spikes
        else:
            output[t] = v
    return output


def _delay(name: str, node: nir.Delay, x: Floats, dt: float) -> Floats:
    """y(t) = x(t − delay), the delay a whole number of steps for each neuron."""
    exact = _float(node.delay) / dt
    steps = np.rint(exact).astype(int)
    if np.any(np.abs(exact - steps) > 1e-3) or np.any(steps < 0):
        raise UsageError(
            "a delay is not a whole number of steps",
            where=f"node {name!r}",
            expected=f"multiples of dt = {dt:g} s",
            found=f"{float(np.ravel(node.delay)[0]):g} s",
            remedy="pass the dt that the graph was made for",
        )
    index = np.arange(len(x)).reshape(-1, *([1] * steps.ndim)) - steps
    gathered = np.take_along_axis(
        x, np.broadcast_to(np.maximum(index, 0)[:, None], x.shape), axis=0
    )
    return np.where(index[:, None] >= 0, gathered, 0.0)


def _float(value: Any) -> Floats:
    return np.asarray(value, dtype=np.float64)
