"""Whether a neuron goes on from the state that it left a step before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from neurokd.export.trace_layer import refuse
from neurokd.export.trace_neurons import STATES
from neurokd.export.trace_values import REST, Given, Signal, State


def passed_states(
    node: fx.Node, path: str, module: nn.Module, values: Mapping[fx.Node, Any]
) -> dict[str, Any]:
    """What a call of a neuron passes as its state, by name; states that are None are left out.

    Raises: `UnsupportedModuleError` for other arguments.
    """
    names = STATES[type(module)]
    passed = dict(zip(names, node.args[1:], strict=False)) | {
        name: value for name, value in node.kwargs.items() if name != "input_"
    }
    if len(node.args) > 1 + len(names) or not set(passed) <= set(names):
        raise refuse(path, "the neuron is called with other inputs than its state", "drop them")
    return {
        name: values.get(value) if isinstance(value, fx.Node) else value
        for name, value in passed.items()
        if value is not None
    }


def check_states(
    path: str,
    module: nn.Module,
    passed: Mapping[str, Any],
    step: int,
    spikes: str,
    given: dict[str, tuple[str, str] | None],
) -> str:
    """Where the state comes from: ``kept`` in the neuron, from ``rest``, or ``given``.

    ``spikes`` is the layer whose output is the state "spk"; inputs of forward that turn out to be
    states are noted in ``given``.

    Raises: `UnsupportedModuleError` if it is not what the step before left.
    """
    names = STATES[type(module)]
    if not passed:
        return "kept"
    if set(passed) != set(names):
        raise refuse(
            path,
            "the neuron gets a part of its state only",
            "pass " + ", ".join(names) + ", or none of them",
            ", ".join(passed),
        )
    if step == 0 and all(value is REST for value in passed.values()):
        return "rest"
    for name, value in passed.items():
        if step == 0 and isinstance(value, Given) and given[value.name] is None:
            given[value.name] = (path, name)
            continue
        before = Signal(spikes, step - 1) if name == "spk" else State(path, name, step - 1)
        if value != before:
            raise refuse(
                path,
                f"the {name!r} passed at step {step + 1} is not what the step before left",
                "start from zero and pass on what the neuron returned",
            )
    return "given"
