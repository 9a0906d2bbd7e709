"""Reference simulation of NIR in float64: the oracle of every export, written to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UnsupportedNodeError, UsageError
from neurokd.export.flatten_nir import flatten_nir
from neurokd.export.linear_maps import Floats, apply_linear
from neurokd.export.nir_structure import NEURONS, NodeShape, graph_dt, node_shapes, predecessors
from neurokd.export.simulate_neurons import NeuronState, neuron_parameters, neuron_step
from neurokd.export.simulate_schedule import check_loops, feedback_edges, order

Steps = NDArray[np.int64]


@dataclass(frozen=True)
class NIRRun:
    """Outputs of a simulated graph.

    Shapes: ``output`` (T, B, *out); ``records[node]`` (T, B, *shape), what leaves each node: spikes
    of a spiking neuron, v of an integrator. Nodes of nested graphs are called ``outer.inner``.
    """

    output: Floats
    records: Mapping[str, Floats]


def simulate_nir(graph: nir.NIRGraph, x: Any, dt: float | None = None) -> NIRRun:
    """Run a NIR graph over T steps from a state of zero, by forward Euler (`neuron_step`).

    Several edges into a node are summed. An edge takes no time, but where edges form a loop: there
    `feedback_edges` carry what their source put out a step before. Before the first step the graph
    is at rest: inputs and neurons put out 0, other nodes what they make of that, so that the bias
    of a recurrent Affine is there at the first step. A Delay of at least a step already makes a
    loop possible, which then takes exactly that delay.

    Shapes: x (T, B, *shape). Units: dt in seconds; without it the graph's metadata, else 1e-4.

    Raises: `ShapeMismatchError`; `UnsupportedNodeError` for loops without state and for graphs
    without exactly one input and one output; `UsageError` for a delay that is not a whole number
    of steps.
    """
    graph = flatten_nir(graph)
    step = graph_dt(graph, dt)
    signal = np.asarray(x, dtype=np.float64)
    shapes = node_shapes(graph)
    output = _check_ends(graph, signal, shapes)
    return _Simulation(graph, signal, shapes, step).run(output)


class _Simulation:
    """The state of one run: what left each node so far, and what the neurons keep."""

    def __init__(
        self, graph: nir.NIRGraph, signal: Floats, shapes: Mapping[str, NodeShape], dt: float
    ) -> None:
        self.nodes = graph.nodes
        self.sources = predecessors(graph)
        self.steps, batch = signal.shape[:2]
        self.delays = {
            name: delay_steps(name, node, dt, self.steps)
            for name, node in self.nodes.items()
            if isinstance(node, nir.Delay)
        }
        # their output does not depend on the input of the same step
        self.late = {name for name, steps in self.delays.items() if np.all(steps >= 1)}
        self.parameters = {
            name: neuron_parameters(node, dt)
            for name, node in self.nodes.items()
            if isinstance(node, NEURONS)
        }
        instant = [edge for edge in graph.edges if edge[1] not in self.late]
        check_loops(instant, set(self.parameters))
        self.feedback = feedback_edges(graph.edges, self.late)
        ordered = {name: [] if name in self.late else self._instant(name) for name in self.nodes}
        self.order = order(ordered)
        self.records = {
            name: np.zeros((self.steps, batch, *shape.output)) for name, shape in shapes.items()
        }
        self.arrived = {name: np.zeros_like(self.records[name]) for name in self.delays}
        zeros = {name: np.zeros((batch, *shapes[name].output)) for name in self.parameters}
        self.states = {name: NeuronState(zero, zero) for name, zero in zeros.items()}
        for name, node in self.nodes.items():
            if isinstance(node, nir.Input):
                self.records[name] = signal
        self.rest = self._at_rest(shapes) if self.feedback else {}

    def run(self, output: str) -> NIRRun:
        for t in range(self.steps):
            for name in self.order:
                if not isinstance(self.nodes[name], nir.Input):
                    self.records[name][t] = self._node(name, t)
            for name in self.late:
                self.arrived[name][t] = self._arriving(name, t)
        return NIRRun(output=self.records[output], records=self.records)

    def _instant(self, name: str) -> list[str]:
        return [source for source in self.sources[name] if (source, name) not in self.feedback]

    def _arriving(self, name: str, t: int) -> Floats:
        """The sum of what the edges into a node carry at step t."""
        total: Floats | None = None
        for source in self.sources[name]:
            carried = self.records[source][t]
            if (source, name) in self.feedback:
                carried = self.records[source][t - 1] if t else self.rest[source]
            total = carried if total is None else total + carried
        assert total is not None, name  # node_shapes has found an input to every node
        return total

    def _node(self, name: str, t: int) -> Floats:
        """What leaves a node at step t."""
        if name in self.delays:
            if name not in self.late:
                self.arrived[name][t] = self._arriving(name, t)
            return _delayed(self.arrived[name], self.delays[name], t)
        arriving = self._arriving(name, t)
        if name in self.parameters:
            out, self.states[name] = neuron_step(self.parameters[name], self.states[name], arriving)
            return out
        return _stateless(name, self.nodes[name], arriving)

    def _at_rest(self, shapes: Mapping[str, NodeShape]) -> dict[str, Floats]:
        """What each node puts out before the first step; (1, *shape)."""
        still = {name for name, node in self.nodes.items() if isinstance(node, nir.Input)}
        still |= self.late | set(self.parameters)
        rest: dict[str, Floats] = {}
        for name in order({n: [] if n in still else self.sources[n] for n in self.nodes}):
            if name in still:
                rest[name] = np.zeros((1, *shapes[name].output))
                continue
            arriving = sum((rest[source] for source in self.sources[name]), np.zeros(()))
            if name in self.delays:
                rest[name] = np.where(self.delays[name] == 0, arriving, 0.0)
            else:
                rest[name] = _stateless(name, self.nodes[name], arriving)
        return rest


def _stateless(name: str, node: Any, x: Floats) -> Floats:
    """x (B, *shape) through a node without state."""
    if isinstance(node, nir.Output):
        return x
    if isinstance(node, nir.Threshold):
        return (x > np.asarray(node.threshold, dtype=np.float64)).astype(np.float64)
    result = apply_linear(name, node, x)
    if result is None:
        raise UnsupportedNodeError(
            f"{type(node).__name__} is not supported",
            where=f"node {name!r}",
            expected="a primitive of NIR 1.0",
            found=type(node).__name__,
        )
    return result


def _delayed(arrived: Floats, steps: Steps, t: int) -> Floats:
    """y(t) = x(t − delay) of each neuron, 0 before the first step; arrived (T, B, *shape)."""
    index = np.broadcast_to(np.maximum(t - steps, 0), (1, *arrived.shape[1:]))
    return np.where(t >= steps, np.take_along_axis(arrived, index, axis=0)[0], 0.0)


def delay_steps(name: str, node: nir.Delay, dt: float, most: int) -> Steps:
    """A Delay in steps, each at most ``most``: rounded where it is within 1e-3 of a whole number.

    Raises: `UsageError` for any other delay, since a rounded delay would be another network.
    """
    exact = np.asarray(node.delay, dtype=np.float64) / dt
    whole = np.rint(exact)
    wrong = ~(np.abs(exact - whole) <= 1e-3) | (whole < 0)
    if np.any(wrong):
        raise UsageError(
            "a delay is not a whole number of steps",
            where=f"node {name!r}",
            expected=f"multiples of dt = {dt:g} s",
            found=f"{float(np.asarray(node.delay)[wrong].flat[0]):g} s",
            remedy="pass the dt that the graph was made for",
        )
    # beyond the last step all delays are the same, and no integer overflows
    return np.minimum(whole, most).astype(np.int64)


def _check_ends(graph: nir.NIRGraph, signal: Floats, shapes: Mapping[str, NodeShape]) -> str:
    """The name of the output, if the graph has one of each and the signal fits."""
    ends: dict[type, str] = {}
    for kind in (nir.Input, nir.Output):
        names = [name for name, node in graph.nodes.items() if isinstance(node, kind)]
        if len(names) != 1:
            raise UnsupportedNodeError(
                f"a graph needs exactly one {kind.__name__} node",
                where="NIR graph",
                expected=f"one {kind.__name__}",
                found=", ".join(names) or "none",
            )
        ends[kind] = names[0]
    expected = shapes[ends[nir.Input]].input
    if signal.ndim < 2 or signal.shape[2:] != expected:
        raise ShapeMismatchError(
            "the signal does not fit the graph",
            where=f"node {ends[nir.Input]!r}",
            expected=f"(T, B, {', '.join(map(str, expected))})",
            found=str(signal.shape),
        )
    return ends[nir.Output]
