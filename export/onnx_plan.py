"""The order and meaning of a NIR graph's nodes, checked before any ONNX is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neurokd.errors import UnsupportedNodeError
from neurokd.export.nir_structure import Shape, node_shapes, predecessors, topological_order

if TYPE_CHECKING:
    import nir

SPIKING = ("IF", "LIF")
INTEGRATING = ("I", "LI")
WEIGHTED = ("Affine", "Linear", "Conv2d")
POOLING = ("SumPool2d", "AvgPool2d")
SUPPORTED = ("Input", "Output", *WEIGHTED, *POOLING, "Flatten", "Scale", *SPIKING, *INTEGRATING)


@dataclass(frozen=True)
class Stage:
    """One NIR node in its place: what feeds it (several sources are summed) and what it gives.

    Shapes exclude batch and time. ``kind`` is ``input``, ``spikes`` or ``membrane``: the nearest
    neurons upstream, through stateless nodes. ``static``: no neuron lies upstream, so with an
    input that does not change the value is the same at every step.
    """

    name: str
    node: Any
    sources: tuple[str, ...]
    source_shape: Shape
    shape: Shape
    kind: str

    @property
    def op(self) -> str:
        return type(self.node).__name__

    @property
    def static(self) -> bool:
        return self.kind == "input"

    @property
    def stateful(self) -> bool:
        return self.op in SPIKING + INTEGRATING


@dataclass(frozen=True)
class Plan:
    """The stages, each after its sources: the Input first, the Output last."""

    stages: tuple[Stage, ...]

    def __getitem__(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def input(self) -> Stage:
        return self.stages[0]

    @property
    def output(self) -> Stage:
        return self.stages[-1]

    @property
    def neurons(self) -> tuple[Stage, ...]:
        return tuple(stage for stage in self.stages if stage.stateful)

    @property
    def readout(self) -> str:
        """``last``: the membrane at the last step; ``sum``: the spikes summed over the steps."""
        return "last" if self.output.kind == "membrane" else "sum"


def plan_graph(graph: nir.NIRGraph) -> Plan:
    """Order the nodes, infer every shape, and refuse what has no exact ONNX here.

    Raises: `UnsupportedNodeError` (unknown node, loop, no neuron before the output, several inputs
    or outputs), `ShapeMismatchError` (a node that does not fit what feeds it).
    """
    for name, node in graph.nodes.items():
        if type(node).__name__ not in SUPPORTED:
            raise UnsupportedNodeError(
                f"{type(node).__name__} has no ONNX form yet",
                where=f"node {name!r}",
                expected=", ".join(SUPPORTED),
                remedy="replace the node, or choose another target",
            )
    for end in ("Input", "Output"):
        found = [name for name, node in graph.nodes.items() if type(node).__name__ == end]
        if len(found) != 1:
            raise UnsupportedNodeError(
                f"an ONNX model here has exactly one {end} node",
                where="NIR graph",
                found=", ".join(found) or "none",
                remedy="export the sub-networks one by one",
            )
    order = topological_order(graph)
    shapes = node_shapes(graph)
    sources = predecessors(graph)
    kinds: dict[str, str] = {}
    for name in order:
        op = type(graph.nodes[name]).__name__
        kinds[name] = _kind(name, op, {kinds[source] for source in sources[name]})
    stages = [
        Stage(name, graph.nodes[name], tuple(sources[name]), *shapes[name], kinds[name])
        for name in order
    ]
    return Plan(tuple(sorted(stages, key=lambda s: {"Input": 0, "Output": 2}.get(s.op, 1))))


def _kind(name: str, op: str, upstream: set[str]) -> str:
    if op == "Input":
        return "input"
    if not upstream:
        raise UnsupportedNodeError("no input reaches this node", where=f"node {name!r}")
    if op in SPIKING:
        return "spikes"
    if op in INTEGRATING:
        return "membrane"
    if op == "Output" and (len(upstream) > 1 or "input" in upstream):
        raise UnsupportedNodeError(
            "no readout over time is meant by this output",
            where=f"node {name!r}",
            expected="spikes or membranes",
            found=" and ".join(sorted(upstream)),
            remedy="end the network in an accumulator (I, LI) or in spiking neurons (IF, LIF)",
        )
    return next(kind for kind in ("membrane", "spikes", "input") if kind in upstream)
