"""From recorded calls to layers: the steps of a time loop are one set of layers, or refused."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from neurokd.export.trace_layer import Described, Shape, refuse
from neurokd.export.trace_modules import NEURONS, describe, describe_recurrent, flatten
from neurokd.export.trace_neurons import (
    STATES,
    Neuron,
    ResetNone,
    describe_neuron,
    returned_states,
)
from neurokd.export.trace_states import check_states, passed_states
from neurokd.export.trace_symbolic import at_rest
from neurokd.export.trace_table import Table
from neurokd.export.trace_values import REST, Given, Recorded, Sequence, Signal, State, shown

_ADDITIONS = (operator.add, operator.iadd, torch.add)


class Steps:
    """Layers from the nodes of a recorded graph, one node after the other.

    At the first step each operation becomes a layer. At every later one it has to be the same
    operation on the same operands, with the state that the step before left.
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

    @property
    def count(self) -> int:
        """T, the number of steps that forward takes."""
        return max(self.calls.values(), default=1)

    def add(self, node: fx.Node) -> None:
        """One fx node: a placeholder, a module, an addition, a flatten, … or the output."""
        path = node.meta.get("path", "")
        value = self._value(node, path)
        self.values[node] = value
        # the parts of a neuron's output come with it, wanted or not
        unused = node.op != "output" and not node.users and node.target is not operator.getitem
        if unused and isinstance(value, (Signal, Sequence, Given)):
            raise refuse(path, f"the result of {node.name!r} is never used", "remove it")

    def _value(self, node: fx.Node, path: str) -> Any:
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "output":
            return self._output(node.args[0])
        if node.op == "call_module":
            return self._module(node, str(node.target))
        target = node.target
        if node.op == "call_function":
            if target in (at_rest, torch.zeros_like):
                return REST
            if target in _ADDITIONS:
                return self._addition(node, path)
            if target is operator.getitem:
                return self._item(node, path)
            if target is torch.stack:
                return self._stack(node, path)
            if target is torch.flatten:
                return self._flatten(node, path)
        if node.op == "call_method":
            if target in ("add", "__add__"):
                return self._addition(node, path)
            if target == "flatten":
                return self._flatten(node, path)
            if target in ("view", "reshape"):
                return self._view(node, path)
            if target in ("detach", "clone", "contiguous") and isinstance(node.args[0], fx.Node):
                return self.values[node.args[0]]
            if target == "new_zeros":
                return REST
        name = target if isinstance(target, str) else str(getattr(target, "__name__", target))
        raise refuse(
            path,
            f"the operation {name!r} has no exact meaning in NIR",
            "use only modules, additions of two tensors and flatten in forward",
        )

    def _placeholder(self, node: fx.Node) -> Any:
        if not self.values:
            if not self.sequence:
                self.table.seen["input"].add(None)
            return Sequence() if self.sequence else Signal("input", None)
        if self.lead == 2 or self.sequence:
            raise refuse(
                "", f"forward takes more than one input ({node.name!r})", "pass one tensor"
            )
        self.given[node.name] = None
        return Given(node.name)

    # layers without state

    def _module(self, node: fx.Node, path: str) -> Any:
        module = self.root.get_submodule(path)
        self.used.add(path)
        if type(module) in STATES:
            return self._neuron_call(node, path, module)
        if len(node.args) + len(node.kwargs) != 1:
            raise refuse(path, "the module is called with more than one input", "pass one tensor")
        source = self._operand(node, path, 0)
        if type(module) in NEURONS:
            return self._multi_step_neuron(node, path, module, source)
        lead = 1 if node.meta["in_step"] else self.lead
        described = describe(path, module, self.table.shapes[source.layer], lead)
        return self._stateless(path, path, described, (source,))

    def _stateless(
        self, key: str, path: str, described: Described | None, sources: tuple[Signal, ...]
    ) -> Signal:
        if described is None or (described.kind == "flatten" and not described.pairs):
            return sources[0]
        step = self._common_step(path, sources)
        names = tuple(source.layer for source in sources)
        pairs = tuple(sorted(described.pairs.items()))

        def make() -> str:
            if described.kind == "accumulator" and path in self.neuron_shapes:
                raise refuse(path, "a neuron layer is called more than once", "use one for each")
            name = self.table.insert(self.table.unique(key), path, described, names)
            if described.kind == "accumulator":
                self.neuron_shapes[path] = self.table.shapes[name]
            return name

        kind = (path, described.kind, names if described.kind != "add" else frozenset(names), pairs)
        return Signal(self.table.once(path, kind, step, make), step)

    def _addition(self, node: fx.Node, path: str) -> Signal:
        if len(node.args) != 2 or node.kwargs:
            raise refuse(path, "only a plain addition of two tensors is known", "drop alpha or out")
        operands = (self._operand(node, path, 0), self._operand(node, path, 1))
        if operands[0] == operands[1]:
            raise refuse(
                path, "a tensor is added to itself", "double the weights of the layer before it"
            )
        shapes = [self.table.shapes[operand.layer] for operand in operands]
        if shapes[0] != shapes[1]:
            raise refuse(
                path,
                "an addition that broadcasts cannot be written in NIR",
                "add tensors of one shape",
                f"{shapes[0]} and {shapes[1]}",
            )
        return self._stateless(f"{path}.add" if path else "add", path, Described("add"), operands)

    def _flatten(self, node: fx.Node, path: str) -> Signal:
        source = self._operand(node, path, 0)
        settings = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
        dims = {"start_dim": 0, "end_dim": -1} | settings
        lead = 1 if node.meta["in_step"] else self.lead
        start, end = (dims[k] for k in ("start_dim", "end_dim"))
        if not (isinstance(start, int) and isinstance(end, int)):
            raise refuse(path, "flatten needs fixed dimensions", "pass integers")
        described = flatten(path, start, end, self.table.shapes[source.layer], lead)
        return self._stateless(f"{path}.flatten" if path else "flatten", path, described, (source,))

    def _view(self, node: fx.Node, path: str) -> Signal:
        """A view or reshape that does what flatten does."""
        source = self._operand(node, path, 0)
        shape = self.table.shapes[source.layer]
        size = 1
        for n in shape:
            size *= n
        made, batch = node.meta["shape"], node.args[0].meta["shape"]  # type: ignore[union-attr]
        if self.lead != 1 or made is None or batch is None or made != (batch[0], size):
            raise refuse(
                path,
                "a view other than (B, all the rest) has no exact meaning in NIR",
                "use flatten(1)",
                str(tuple(made or ())),
            )
        described = flatten(path, 1, -1, shape, 1)
        return self._stateless(f"{path}.flatten" if path else "flatten", path, described, (source,))

    # neurons

    def _multi_step_neuron(self, node: fx.Node, path: str, module: Any, source: Signal) -> Signal:
        if node.meta["in_step"]:
            raise refuse(
                path, "LIF runs over all steps and cannot stand inside PerStep", "move it outside"
            )
        if path in self.neuron_shapes:
            raise refuse(path, "a neuron layer is called more than once", "use one for each")
        shape = self.table.shapes[source.layer]
        return self._new_neuron(path, describe_neuron(path, module.cell, shape, "refuse"), source)

    def _neuron_call(self, node: fx.Node, path: str, module: Any) -> Any:
        if self.lead != 1:
            raise refuse(
                path,
                "a single-step neuron cannot be mixed with multi-step modules",
                "use neurokd.neurons.LIF",
            )
        step = self.calls.get(path, 0)
        source = self._operand(node, path, 0)
        if source.step not in (None, step):
            raise refuse(
                path,
                "a neuron with state is called more than once in a step, or its steps are mixed",
                "use one neuron layer for each place",
                f"call {step + 1} on the input of step {source.step + 1}",
            )
        passed = passed_states(node, path, module, self.values)
        spikes = self.spikes.get(path, "")
        start = check_states(path, module, passed, step, spikes, self.given)
        if start == "kept" and node.meta.get("was_reset"):
            if step:
                raise refuse(
                    path, "the neuron is reset within the time loop", "reset before the loop only"
                )
            start = "rest"
        self.starts.setdefault(path, start)
        self.calls[path] = step + 1
        if step == 0:
            shape = self.table.shapes[source.layer]
            described = describe_neuron(path, module, shape, self.reset_none)
            signal = self._new_neuron(path, described, source)
            self.table.seen[signal.layer] = {0}
            signal = Signal(signal.layer, 0)
        else:
            if self.table.layers[self.entry[path]].sources[0] != source.layer:
                raise refuse(
                    path,
                    f"step {step + 1} of the time loop is wired differently from the first",
                    "do the same at every step",
                    f"input from {source.layer!r}",
                )
            signal = Signal(self.spikes[path], step)
            self.table.seen[signal.layer].add(step)
        states = tuple(State(path, name, step) for name in returned_states(module))
        return (signal, *states) if states else signal

    def _new_neuron(self, path: str, neuron: Neuron, source: Signal) -> Signal:
        base = self.table.unique(path)
        before = source.layer
        for suffix, described in neuron.chain:
            name = self.table.insert(
                self.table.unique(f"{base}{suffix}"), path, described, (before,)
            )
            self.entry.setdefault(path, name)
            before = name
        self.spikes[path] = before
        self.neuron_shapes[path] = self.table.shapes[before]
        if neuron.recurrent is not None:
            shape = self.table.shapes[before]
            described = describe_recurrent(f"{path}.recurrent", neuron.recurrent, shape)
            name = self.table.insert(
                self.table.unique(f"{base}_recurrent"), path, described, (before,)
            )
            entry = self.table.layers[self.entry[path]]
            if self.table.shapes[name] != self.table.shapes[entry.name]:
                raise refuse(
                    path,
                    "the recurrent layer does not fit its neurons",
                    "give it the neurons' shape",
                    f"{self.table.shapes[name]} for {self.table.shapes[entry.name]}",
                )
            self.table.layers[name] = replace(self.table.layers[name], feeds_back=entry.name)
            self.table.layers[entry.name] = replace(entry, sources=(*entry.sources, name))
        return Signal(before, None)

    # time

    def _item(self, node: fx.Node, path: str) -> Any:
        operand, index = node.args
        value = self.values.get(operand) if isinstance(operand, fx.Node) else None
        if isinstance(value, Sequence):
            if not isinstance(index, int) or index < 0:
                raise refuse(
                    path,
                    "the input is not taken apart step by step",
                    "use x[step] of an input (T, B, *shape)",
                    f"[{index}]",
                )
            self.table.seen["input"].add(index)
            return Signal("input", index)
        if isinstance(value, tuple) and isinstance(index, int):
            return value[index]
        raise refuse(
            path,
            "a part of a tensor has no exact meaning in NIR",
            "index only an input (T, B, *shape) by the step, and return all steps",
            f"[{index}]",
        )

    def _stack(self, node: fx.Node, path: str) -> Recorded:
        settings = dict(zip(("tensors", "dim"), node.args, strict=False)) | node.kwargs
        tensors = settings.get("tensors", ())
        values = [
            self.values.get(n) for n in (tensors if isinstance(tensors, (list, tuple)) else ())
        ]
        if settings.get("dim", 0) != 0 or set(settings) - {"tensors", "dim"}:
            raise refuse(path, "steps are stacked along another axis", "use torch.stack(list)")
        steps = [getattr(value, "step", None) for value in values]
        owners = {
            (type(v), getattr(v, "layer", getattr(v, "path", None)), getattr(v, "name", None))
            for v in values
        }
        fits = all(isinstance(value, (Signal, State)) for value in values)
        if not fits or len(owners) != 1 or steps != list(range(len(steps))):
            raise refuse(
                path,
                "torch.stack joins something else than one output at each step, in order",
                "append the same output once in every step",
            )
        self.stacked = True
        return Recorded(tuple(value for value in values if isinstance(value, (Signal, State))))

    def _output(self, result: Any) -> None:
        parts = list(result) if isinstance(result, (tuple, list)) else [result]
        values = [self.values.get(p) if isinstance(p, fx.Node) else p for p in parts]
        if len(values) == 1 and isinstance(values[0], tuple):
            values = list(values[0])
        if not values or not all(isinstance(v, (Signal, State, Recorded)) for v in values):
            raise refuse(
                "",
                "forward must return one tensor, or spikes and states",
                "return the last layer's output",
            )
        first = values[0]
        loop = self.count > 1 or self.stacked or self.sequence
        if isinstance(first, Recorded):
            if len(first.values) != self.count or self.count < 2:
                raise refuse(
                    "",
                    "the output does not hold every step of the time loop",
                    "append it in every step, and trace with at least two",
                    f"{len(first.values)} of {self.count} steps",
                )
            first = first.values[0]
        elif loop:
            raise refuse(
                "",
                "forward returns a part of its time loop",
                "append the output of each step to a list and return torch.stack(list)",
            )
        if not isinstance(first, Signal):
            raise refuse(
                "",
                "the first output is a neuron's state",
                "return the spikes, or the last layer's output, first",
            )
        self.table.insert("output", "", Described("output"), (first.layer,))
        self._close(loop)
        self.states = self._returned(values)

    def _close(self, loop: bool) -> None:
        """Every layer took part in every step, and state outlives a step."""
        for path, calls in self.calls.items():
            if calls != self.count:
                raise refuse(
                    path,
                    "the neuron is not called in every step",
                    "call every layer once in every step of the time loop",
                    f"{calls} of {self.count} steps",
                )
            reset = self.starts[path] == "rest" or path in self.reset_after
            if not loop and reset:
                raise refuse(
                    path,
                    "forward takes one step, and starts the neuron from zero each time",
                    "run the time loop inside forward, or keep the state between calls",
                )
        self.table.check(self.count)

    def _returned(self, values: list[Any]) -> tuple[int, ...]:
        """Where forward returns each state that it was given."""
        places = []
        for name, owner in self.given.items():
            if owner is None:
                raise refuse("", f"the input {name!r} is no state of a neuron", "remove it")
            path, state = owner
            wanted = Signal(self.spikes[path], 0) if state == "spk" else State(path, state, 0)
            if wanted not in values:
                raise refuse(
                    path, f"forward takes the state {name!r} and does not return it", "return it"
                )
            places.append(values.index(wanted))
        return tuple(places)

    # names and shapes

    def _operand(self, node: fx.Node, path: str, index: int) -> Signal:
        operands = [*node.args, *(node.kwargs[k] for k in ("input", "input_") if k in node.kwargs)]
        operand = operands[index] if index < len(operands) else None
        value = self.values.get(operand) if isinstance(operand, fx.Node) else None
        if isinstance(value, Signal):
            return value
        raise refuse(
            path,
            f"{node.name!r} has an operand that is no tensor of this step",
            "use layers on the input, on spikes (one step's, without the state) and on their sums",
            shown(value, operand),
        )

    def _common_step(self, path: str, sources: tuple[Signal, ...]) -> int | None:
        steps = {source.step for source in sources} - {None}
        if len(steps) > 1:
            raise refuse(
                path,
                "an operation mixes steps of the time loop",
                "pass state only from a neuron to itself",
            )
        return steps.pop() if steps else None
