"""What a forward returns: one output at every step, and the states that it was given."""

from __future__ import annotations

from typing import Any

from torch import fx

from neurokd.export.trace_layer import Described, refuse
from neurokd.export.trace_steps import Steps
from neurokd.export.trace_values import Recorded, Signal, State


def close(steps: Steps, result: Any) -> None:
    """Adds the output, once every layer took part in every step.

    Raises: `UnsupportedModuleError` for other outputs than spikes of one or of all steps, and
    states.
    """
    parts = list(result) if isinstance(result, (tuple, list)) else [result]
    values = [steps.values.get(p) if isinstance(p, fx.Node) else p for p in parts]
    if len(values) == 1 and isinstance(values[0], tuple):
        values = list(values[0])
    if not values or not all(isinstance(v, (Signal, State, Recorded)) for v in values):
        raise refuse(
            "",
            "forward must return one tensor, or spikes and states",
            "return the last layer's output",
        )
    first = values[0]
    loop = steps.count > 1 or steps.stacked or steps.sequence
    if isinstance(first, Recorded):
        if len(first.values) != steps.count or steps.count < 2:
            raise refuse(
                "",
                "the output does not hold every step of the time loop",
                "append it in every step, and trace with at least two",
                f"{len(first.values)} of {steps.count} steps",
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
    steps.table.insert("output", "", Described("output"), (first.layer,))
    _check(steps, loop)
    steps.states = _returned(steps, values)


def _check(steps: Steps, loop: bool) -> None:
    """Every layer took part in every step, and state outlives a step."""
    for path, calls in steps.calls.items():
        if calls != steps.count:
            raise refuse(
                path,
                "the neuron is not called in every step",
                "call every layer once in every step of the time loop",
                f"{calls} of {steps.count} steps",
            )
        reset = steps.starts[path] == "rest" or path in steps.reset_after
        if not loop and reset:
            raise refuse(
                path,
                "forward takes one step, and starts the neuron from zero each time",
                "run the time loop inside forward, or keep the state between calls",
            )
    steps.table.check(steps.count)


def _returned(steps: Steps, values: list[Any]) -> tuple[int, ...]:
    """Where forward returns each state that it was given."""
    places = []
    for name, owner in steps.given.items():
        if owner is None:
            raise refuse("", f"the input {name!r} is no state of a neuron", "remove it")
        path, state = owner
        wanted = Signal(steps.spikes[path], 0) if state == "spk" else State(path, state, 0)
        if wanted not in values:
            raise refuse(
                path, f"forward takes the state {name!r} and does not return it", "return it"
            )
        places.append(values.index(wanted))
    return tuple(places)
