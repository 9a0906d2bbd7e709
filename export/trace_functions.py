"""Functions of torch that do what a known module does; all others, with a remedy."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from neurokd.errors import UnsupportedModuleError
from neurokd.export.trace_layer import refuse
from neurokd.export.trace_modules import describe
from neurokd.export.trace_steps import Steps
from neurokd.export.trace_values import Signal

_POOL = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

_FORMS: dict[Any, tuple[type[nn.Module], tuple[str, ...]]] = {
    functional.avg_pool1d: (nn.AvgPool1d, _POOL),
    functional.avg_pool2d: (nn.AvgPool2d, (*_POOL, "divisor_override")),
    functional.adaptive_avg_pool2d: (nn.AdaptiveAvgPool2d, ("output_size",)),
}
"""Functions without weights: their module, and its settings in order."""

_DROPOUTS = (functional.dropout, functional.dropout1d, functional.dropout2d, torch.dropout)


def is_function(target: Any) -> bool:
    """Whether a function is the form of a known module."""
    return target in _FORMS or target in _DROPOUTS


def function(steps: Steps, node: fx.Node, path: str) -> Signal:
    """What leaves a function, as it would leave its module."""
    source = steps.operand(node, path, 0)
    if node.target in _DROPOUTS:
        return _dropout(node, path, source)
    kind, names = _FORMS[node.target]
    given = dict(zip(names, node.args[1:], strict=False))
    settings = given | {key: value for key, value in node.kwargs.items() if key != "input"}
    if any(isinstance(value, fx.Node) for value in settings.values()):
        raise refuse(path, f"the settings of {_name(node)!r} are not fixed", "pass numbers")
    shape = steps.table.shapes[source.layer]
    described = describe(path, kind(**settings), shape, steps.leading(node))
    name = f"{path}.{_name(node)}" if path else _name(node)
    return steps.stateless(name, path, described, (source,), repr(sorted(settings.items())))


def _dropout(node: fx.Node, path: str, source: Signal) -> Signal:
    # torch.dropout(input, p, train) names the last one differently
    settings = dict(zip(("p", "training"), node.args[1:], strict=False)) | node.kwargs
    active = settings.get("training", settings.get("train", True))
    if active is not False and settings.get("p", 0.5) != 0:
        raise refuse(
            path,
            f"{_name(node)!r} drops at random in evaluation, too",
            "pass training=self.training, or use nn.Dropout",
        )
    return source


def unknown(node: fx.Node, path: str) -> UnsupportedModuleError:
    """The error for an operation that has no form in NIR."""
    name = _name(node)
    if node.op == "get_attr":
        return refuse(
            path,
            f"forward uses {name!r} by itself, not through its layer",
            "call the layer that holds it: nn.Linear, nn.Conv1d, nn.Conv2d",
        )
    return refuse(
        path,
        f"the operation {name!r} has no exact meaning in NIR",
        _REMEDIES.get(
            name.strip("_"), "use only modules, additions of two tensors and flatten in forward"
        ),
    )


def _name(node: fx.Node) -> str:
    target = node.target
    return target if isinstance(target, str) else str(getattr(target, "__name__", target))


_SCALE = "put the factor into the weights of a layer beside it, or into the data"
_STRIDE = "use F.avg_pool2d, or a convolution with a stride"
_ENCODE = "turn data into spikes outside of the network"
_TIME = "of steps, return torch.stack(list)"
_MODULE = "use the module in __init__, whose weights are then known"
_ATTENTION = "attention cannot be written in NIR"

_REMEDIES = {
    "add": "write y = y + x, which changes no tensor that another call may read",
    "repeat": _ENCODE,
    "bernoulli": _ENCODE,
    "rand_like": _ENCODE,
    "rand": _ENCODE,
    "setitem": "append what each step gives to a list, and return torch.stack(list)",
    "unbind": "use x[step] of an input (T, B, *shape), or iterate over it",
    "relu": "use a spiking neuron, or remove it: spikes are not negative",
    "max_pool1d": "use a convolution with a stride",
    "boolean_dispatch": _STRIDE,
    "max_pool2d": _STRIDE,
    "adaptive_max_pool2d": "use F.adaptive_avg_pool2d",
    "mul": _SCALE,
    "truediv": _SCALE,
    "div": _SCALE,
    "neg": _SCALE,
    "sub": "negate the weights of the layer before it, and add",
    "mean": f"use nn.AvgPool2d or nn.AdaptiveAvgPool2d for an image; {_TIME}",
    "sum": f"use an addition, or a layer with fixed weights; {_TIME}",
    "cat": f"use one layer for each part, and add what they give; {_TIME}",
    "concat": f"use one layer for each part, and add what they give; {_TIME}",
    "linear": f"{_MODULE}: nn.Linear",
    "conv1d": f"{_MODULE}: nn.Conv1d",
    "conv2d": f"{_MODULE}: nn.Conv2d",
    "batch_norm": f"{_MODULE}: nn.BatchNorm2d",
    "layer_norm": "use nn.BatchNorm2d directly after a convolution",
    "matmul": f"{_ATTENTION}; for a fixed matrix use nn.Linear",
    "bmm": _ATTENTION,
    "unflatten": f"keep samples as the layers give them; to split heads: {_ATTENTION}",
    "softmax": f"{_ATTENTION}; after the last layer, take it outside of the network",
    "scaled_dot_product_attention": _ATTENTION,
    "squeeze": "use flatten(1), or samples without this axis",
    "unsqueeze": "pass samples that have this axis",
    "permute": "pass samples in the order that the layers want",
    "transpose": "pass samples in the order that the layers want",
}
