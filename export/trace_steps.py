"""What is known of a forward pass while the steps of its time loop become one set of layers."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from neurokd.export.trace_layer import Described, Shape, refuse
from neurokd.export.trace_neurons import ResetNone
from neurokd.export.trace_table import Table
from neurokd.export.trace_values import Signal, shown


class Steps:
    """Layers from the nodes of a recorded graph, one node after the other.

    At the first step each operation becomes a layer. At every later one it has to be the same
    operation on the same operands, with the state that the step before left. `trace_calls.add`
    takes the nodes.
    """

    def __init__(
        self, root: nn.Module, shape: Shape, lead: int, sequence: bool, reset_none: ResetNone
    ) -> None:
        self.root = root
        self.lead = lead
        self.sequence = sequence
        self.reset_none = reset_none
        self.table = Table(shape)
        self.values: dict[fx.Node, Any] = {}
        self.calls: dict[str, int] = {}
        self.spikes: dict[str, str] = {}
        self.entry: dict[str, str] = {}
        self.neuron_shapes: dict[str, Shape] = {}
        self.starts: dict[str, str] = {}
        self.used: set[str] = set()
        self.given: dict[str, tuple[str, str] | None] = {}
        self.reset_after: set[str] = set()
        """Neurons that forward resets after their last call; the recorder knows them."""
        self.states: tuple[int, ...] = ()
        self.stacked = False
        self._overwritten: set[tuple[str, int | None]] = set()

    @property
    def count(self) -> int:
        """T, the number of steps that forward takes."""
        return max(self.calls.values(), default=1)

    def leading(self, node: fx.Node) -> int:
        """The leading axes where this node stands: batch, or time and batch."""
        return 1 if node.meta["in_step"] else self.lead

    def stateless(
        self,
        name: str,
        path: str,
        described: Described | None,
        sources: tuple[Signal, ...],
        settings: str = "",
    ) -> Signal:
        """What leaves an operation without state, a layer of this name if it is new.

        ``settings`` tells apart operations of one module that differ in more than their integers.
        """
        if described is None or (described.kind == "flatten" and not described.pairs):
            return sources[0]
        step = self._common_step(path, sources)
        names = tuple(source.layer for source in sources)
        pairs = tuple(sorted(described.pairs.items()))

        def make() -> str:
            if described.kind == "accumulator" and path in self.neuron_shapes:
                raise refuse(path, "a neuron layer is called more than once", "use one for each")
            made = self.table.insert(self.table.unique(name), path, described, names)
            if described.kind == "accumulator":
                self.neuron_shapes[path] = self.table.shapes[made]
            return made

        operands = names if described.kind != "add" else frozenset(names)
        kind = (path, described.kind, operands, pairs, settings)
        return Signal(self.table.once(path, kind, step, make), step)

    def operand(self, node: fx.Node, path: str, index: int) -> Signal:
        """The operand of a node at this place, what one layer puts out at one step."""
        operands = [*node.args, *(node.kwargs[k] for k in ("input", "input_") if k in node.kwargs)]
        operand = operands[index] if index < len(operands) else None
        value = self.values.get(operand) if isinstance(operand, fx.Node) else None
        if isinstance(value, Signal):
            if (self._stored(value.layer), value.step) in self._overwritten:
                raise refuse(
                    path,
                    "a tensor is read again after += has changed it",
                    "write y = y + x instead",
                    value.layer,
                )
            return value
        raise refuse(
            path,
            f"{node.name!r} has an operand that is no tensor of this step",
            "use layers on the input, on spikes (one step's, without the state) and on their sums",
            shown(value, operand),
        )

    def overwrite(self, path: str, signal: Signal) -> None:
        """Notes that += changes what a layer put out, wherever else it is held.

        Raises: `UnsupportedModuleError` for the spikes that recurrent neurons keep as their state.
        """
        layer = self.table.layers[self._stored(signal.layer)]
        if layer.path in self.spikes and hasattr(self.root.get_submodule(layer.path), "recurrent"):
            raise refuse(
                path,
                f"+= changes the spikes that the neurons {layer.path!r} keep as their state",
                "write y = y + x instead",
            )
        self._overwritten.add((layer.name, signal.step))

    def _stored(self, layer: str) -> str:
        """The layer whose memory this one's output is: a flatten shares that of its source."""
        while self.table.layers[layer].kind == "flatten":
            layer = self.table.layers[layer].sources[0]
        return layer

    def _common_step(self, path: str, sources: tuple[Signal, ...]) -> int | None:
        steps = {source.step for source in sources} - {None}
        if len(steps) > 1:
            raise refuse(
                path,
                "an operation mixes steps of the time loop",
                "pass state only from a neuron to itself, and sum over steps outside of forward",
            )
        return steps.pop() if steps else None
