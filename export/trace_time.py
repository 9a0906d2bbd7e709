"""Time in a forward: steps taken from the input, and outputs of all steps joined."""

from __future__ import annotations

from typing import Any

from torch import fx

from neurokd.export.trace_layer import refuse
from neurokd.export.trace_steps import Steps
from neurokd.export.trace_values import Recorded, Sequence, Signal, State


def item(steps: Steps, node: fx.Node, path: str) -> Any:
    """A step of the input, or one of a neuron's outputs."""
    operand, index = node.args
    value = steps.values.get(operand) if isinstance(operand, fx.Node) else None
    if isinstance(value, Sequence):
        if not isinstance(index, int) or index < 0:
            raise refuse(
                path,
                "the input is not taken apart step by step",
                "use x[step] of an input (T, B, *shape)",
                f"[{index}]",
            )
        steps.table.seen["input"].add(index)
        return Signal("input", index)
    if isinstance(value, tuple) and isinstance(index, int):
        return value[index]
    raise refuse(
        path,
        "a part of a tensor has no exact meaning in NIR",
        "index only an input (T, B, *shape) by the step, and return all steps",
        f"[{index}]",
    )


def stack(steps: Steps, node: fx.Node, path: str) -> Recorded:
    """One output of all steps, in order."""
    settings = dict(zip(("tensors", "dim"), node.args, strict=False)) | node.kwargs
    tensors = settings.get("tensors", ())
    values = [steps.values.get(n) for n in (tensors if isinstance(tensors, (list, tuple)) else ())]
    if settings.get("dim", 0) != 0 or set(settings) - {"tensors", "dim"}:
        raise refuse(path, "steps are stacked along another axis", "use torch.stack(list)")
    found = [getattr(value, "step", None) for value in values]
    owners = {
        (type(v), getattr(v, "layer", getattr(v, "path", None)), getattr(v, "name", None))
        for v in values
    }
    fits = all(isinstance(value, (Signal, State)) for value in values)
    if not fits or len(owners) != 1 or found != list(range(len(found))):
        raise refuse(
            path,
            "torch.stack joins something else than one output at each step, in order",
            "append the same output once in every step",
        )
    steps.stacked = True
    return Recorded(tuple(value for value in values if isinstance(value, (Signal, State))))
