"""Operations without state: additions, and reshapes that are a flatten."""

from __future__ import annotations

import math
import operator

from torch import fx

from neurokd.export.trace_layer import Described, Shape, refuse
from neurokd.export.trace_modules import flatten as describe_flatten
from neurokd.export.trace_steps import Steps
from neurokd.export.trace_values import Signal


def addition(steps: Steps, node: fx.Node, path: str) -> Signal:
    """The sum of two tensors of one shape."""
    if len(node.args) != 2 or node.kwargs:
        raise refuse(path, "only a plain addition of two tensors is known", "drop alpha or out")
    for zero, other in ((0, 1), (1, 0)):  # sum() begins with 0
        if isinstance(node.args[zero], (int, float)) and node.args[zero] == 0:
            return steps.operand(node, path, other)
    if not all(isinstance(arg, fx.Node) for arg in node.args):
        raise refuse(
            path,
            "the addition of a constant has no form in NIR",
            "put the constant into the bias of the layer before it",
            " + ".join(str(arg) for arg in node.args),
        )
    operands = (steps.operand(node, path, 0), steps.operand(node, path, 1))
    shapes = [steps.table.shapes[operand.layer] for operand in operands]
    if shapes[0] != shapes[1]:
        raise refuse(
            path,
            "an addition that broadcasts cannot be written in NIR",
            "add tensors of one shape",
            f"{shapes[0]} and {shapes[1]}",
        )
    if node.target is operator.iadd:
        steps.overwrite(path, operands[0])
    return steps.stateless(f"{path}.add" if path else "add", path, Described("add"), operands)


def flatten(steps: Steps, node: fx.Node, path: str) -> Signal:
    """torch.flatten, or the method."""
    source = steps.operand(node, path, 0)
    given = [arg for arg in node.args if arg is not node.args[0]]
    settings = dict(zip(("start_dim", "end_dim"), given, strict=False)) | node.kwargs
    dims = {"start_dim": 0, "end_dim": -1} | settings
    start, end = (dims[k] for k in ("start_dim", "end_dim"))
    if not (isinstance(start, int) and isinstance(end, int)):
        raise refuse(path, "flatten needs fixed dimensions", "pass integers")
    return _flat(steps, node, path, source, start, end)


def view(steps: Steps, node: fx.Node, path: str) -> Signal:
    """A view or reshape that merges neighbouring axes of a sample, or none, as flatten does."""
    source = steps.operand(node, path, 0)
    shape = steps.table.shapes[source.layer]
    made, before = node.meta["shape"], node.args[0].meta["shape"]  # type: ignore[union-attr]
    merged = None
    if steps.lead == 1 and made is not None and before is not None and made[0] == before[0]:
        merged = _merged(shape, tuple(made[1:]))
    if merged is None:
        raise refuse(
            path,
            "a view that does more than merge axes of a sample has no exact meaning in NIR",
            "use flatten(1)",
            f"{tuple(before or ())} to {tuple(made or ())}",
        )
    return _flat(steps, node, path, source, merged[0] + 1, merged[1] + 1)


def _merged(shape: Shape, made: Shape) -> tuple[int, int] | None:
    """First and last of the axes that give ``made`` once they are one."""
    for start in range(len(shape)):
        for end in range(start, len(shape)):
            one = math.prod(shape[start : end + 1])
            if (*shape[:start], one, *shape[end + 1 :]) == made:
                return start, end
    return None


def _flat(steps: Steps, node: fx.Node, path: str, source: Signal, start: int, end: int) -> Signal:
    shape = steps.table.shapes[source.layer]
    described = describe_flatten(path, start, end, shape, steps.leading(node))
    name = f"{path}.flatten" if path else "flatten"
    return steps.stateless(name, path, described, (source,))
