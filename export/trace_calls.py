"""The nodes of a recorded forward, one after the other: what each of them is."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from neurokd.export import trace_functions, trace_operations
from neurokd.export.trace_layer import refuse
from neurokd.export.trace_modules import NEURONS, describe
from neurokd.export.trace_neuron_calls import multi_step_neuron, neuron_call
from neurokd.export.trace_neurons import STATES
from neurokd.export.trace_output import close
from neurokd.export.trace_steps import Steps
from neurokd.export.trace_symbolic import at_rest
from neurokd.export.trace_time import item, stack
from neurokd.export.trace_values import REST, Given, Sequence, Signal

_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "__add__")
_FLATTENS = (torch.flatten, "flatten")
_VIEWS = (torch.reshape, "view", "reshape")
_UNCHANGED = ("detach", "clone", "contiguous", "double", "cpu", "cuda")
_ZEROS = (at_rest, torch.zeros_like, "new_zeros")


def add(steps: Steps, node: fx.Node) -> None:
    """One fx node: a placeholder, a module, an addition, a flatten, … or the output.

    Raises: `UnsupportedModuleError`.
    """
    path = node.meta.get("path", "")
    value = _value(steps, node, path)
    steps.values[node] = value
    # the parts of a neuron's output come with it, wanted or not
    unused = node.op != "output" and not node.users and node.target is not operator.getitem
    if unused and isinstance(value, (Signal, Sequence, Given)):
        raise refuse(path, f"the result of {node.name!r} is never used", "remove it")


def _value(steps: Steps, node: fx.Node, path: str) -> Any:
    if node.op == "placeholder":
        return _placeholder(steps, node)
    if node.op == "output":
        return close(steps, node.args[0])
    if node.op == "call_module":
        return _module(steps, node, str(node.target))
    target = node.target
    if node.op in ("call_function", "call_method"):
        if target in _ZEROS:
            return REST
        if target in _ADDITIONS:
            return trace_operations.addition(steps, node, path)
        if target in _FLATTENS:
            return trace_operations.flatten(steps, node, path)
        if target in _VIEWS:
            return trace_operations.view(steps, node, path)
        if _keeps_values(steps, node) and isinstance(node.args[0], fx.Node):
            return steps.values[node.args[0]]
        if target is operator.getitem:
            return item(steps, node, path)
        if target is torch.stack:
            return stack(steps, node, path)
        if trace_functions.is_function(target):
            return trace_functions.function(steps, node, path)
    raise trace_functions.unknown(node, path)


def _keeps_values(steps: Steps, node: fx.Node) -> bool:
    """Whether a method gives its tensor as it is, perhaps elsewhere or in a wider type."""
    if node.target in _UNCHANGED:
        return True
    if node.target == "float":
        return all(t.dtype != torch.float64 for t in steps.root.state_dict().values())
    if node.target == "to":
        settings = (*node.args[1:], *node.kwargs.values())
        return all(isinstance(value, (str, torch.device, bool)) for value in settings)
    return False


def _placeholder(steps: Steps, node: fx.Node) -> Any:
    if not steps.values:
        if not steps.sequence:
            steps.table.seen["input"].add(None)
        return Sequence() if steps.sequence else Signal("input", None)
    if steps.lead == 2 or steps.sequence:
        raise refuse("", f"forward takes more than one input ({node.name!r})", "pass one tensor")
    steps.given[node.name] = None
    return Given(node.name)


def _module(steps: Steps, node: fx.Node, path: str) -> Any:
    module = steps.root.get_submodule(path)
    steps.used.add(path)
    if type(module) in STATES:
        return neuron_call(steps, node, path, module)
    if len(node.args) + len(node.kwargs) != 1:
        raise refuse(path, "the module is called with more than one input", "pass one tensor")
    source = steps.operand(node, path, 0)
    if type(module) in NEURONS:
        return multi_step_neuron(steps, node, path, module, source)
    shape = steps.table.shapes[source.layer]
    described = describe(path, module, shape, steps.leading(node))
    return steps.stateless(path, path, described, (source,))
