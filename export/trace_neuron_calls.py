"""Calls of neurons: at the first step they become layers, at later ones they go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import fx

from neurokd.export.trace_late_reset import insert_late_reset
from neurokd.export.trace_layer import refuse
from neurokd.export.trace_modules import describe_recurrent
from neurokd.export.trace_neurons import Neuron, describe_neuron, returned_states
from neurokd.export.trace_states import check_states, passed_states
from neurokd.export.trace_steps import Steps
from neurokd.export.trace_values import Signal, State


def neuron_call(steps: Steps, node: fx.Node, path: str, module: Any) -> Any:
    """Spikes, and what else a neuron of snnTorch returns, at the step of this call."""
    if steps.lead != 1:
        raise refuse(
            path,
            "a single-step neuron cannot be mixed with multi-step modules",
            "use neurokd.neurons.LIF",
        )
    step = steps.calls.get(path, 0)
    source = steps.operand(node, path, 0)
    if source.step not in (None, step):
        raise refuse(
            path,
            "a neuron with state is called more than once in a step, or its steps are mixed",
            "use one neuron layer for each place",
            f"call {step + 1} on the input of step {source.step + 1}",
        )
    passed = passed_states(node, path, module, steps.values)
    spikes = steps.spikes.get(path, "")
    start = check_states(path, module, passed, step, spikes, steps.given)
    if start == "kept" and node.meta.get("was_reset"):
        if step:
            raise refuse(
                path, "the neuron is reset within the time loop", "reset before the loop only"
            )
        start = "rest"
    steps.starts.setdefault(path, start)
    steps.calls[path] = step + 1
    if step == 0:
        shape = steps.table.shapes[source.layer]
        described = describe_neuron(path, module, shape, steps.reset_none)
        signal = _insert(steps, path, described, source)
        steps.table.seen[signal.layer] = {0}
        signal = Signal(signal.layer, 0)
    else:
        if steps.table.layers[steps.entry[path]].sources[0] != source.layer:
            raise refuse(
                path,
                f"step {step + 1} of the time loop is wired differently from the first",
                "do the same at every step",
                f"input from {source.layer!r}",
            )
        signal = Signal(steps.spikes[path], step)
        steps.table.seen[signal.layer].add(step)
    states = tuple(State(path, name, step) for name in returned_states(module))
    return (signal, *states) if states else signal


def multi_step_neuron(
    steps: Steps, node: fx.Node, path: str, module: Any, source: Signal
) -> Signal:
    """The output of neurons that run over all steps by themselves."""
    if node.meta["in_step"]:
        raise refuse(
            path,
            f"{type(module).__name__} runs over all steps and cannot stand inside PerStep",
            "move it outside",
        )
    if path in steps.neuron_shapes:
        raise refuse(path, "a neuron layer is called more than once", "use one for each")
    shape = steps.table.shapes[source.layer]
    return _insert(steps, path, describe_neuron(path, module.cell, shape, "refuse"), source)


def _insert(steps: Steps, path: str, neuron: Neuron, source: Signal) -> Signal:
    base = steps.table.unique(path)
    before = source.layer
    chain = []
    for suffix, described in neuron.chain:
        name = steps.table.insert(steps.table.unique(f"{base}{suffix}"), path, described, (before,))
        steps.entry.setdefault(path, name)
        before = name
        chain.append(name)
    spikes = before
    steps.spikes[path] = spikes
    steps.neuron_shapes[path] = steps.table.shapes[spikes]
    if neuron.late_reset:
        before = insert_late_reset(steps.table, base, path, chain[-2], spikes)
    if neuron.recurrent is not None:
        shape = steps.table.shapes[spikes]
        described = describe_recurrent(f"{path}.recurrent", neuron.recurrent, shape)
        name = steps.table.insert(
            steps.table.unique(f"{base}_recurrent"), path, described, (before,)
        )
        entry = steps.table.layers[steps.entry[path]]
        if steps.table.shapes[name] != steps.table.shapes[entry.name]:
            raise refuse(
                path,
                "the recurrent layer does not fit its neurons",
                "give it the neurons' shape",
                f"{steps.table.shapes[name]} for {steps.table.shapes[entry.name]}",
            )
        steps.table.layers[name] = replace(steps.table.layers[name], feeds_back=entry.name)
        steps.table.layers[entry.name] = replace(entry, sources=(*entry.sources, name))
    return Signal(spikes, None)
