"""Which torch modules have an exact meaning in NIR, and what they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from snntorch._neurons.rleaky import RecurrentOneToOne as RLeakyOneToOne
from snntorch._neurons.rsynaptic import RecurrentOneToOne as RSynapticOneToOne
from torch import Tensor, nn

from neurokd.export.trace_conv import describe_conv
from neurokd.export.trace_layer import Described, Floats, Kind, Shape, refuse
from neurokd.export.trace_neurons import STATES
from neurokd.export.trace_pool1d import average_pool_1d
from neurokd.neurons import LIF, Accumulator, CubaLIF


def describe(path: str, module: nn.Module, shape: Shape, lead: int) -> Described | None:
    """What a stateless module is in NIR, or None where it is removed (Dropout, Identity).

    ``shape`` is the input's without its ``lead`` leading axes (batch, or time and batch).
    Raises: `UnsupportedModuleError` for every module or setting outside the whitelist.
    """
    check_known(path, module)
    return HANDLERS[type(module)](path, module, shape, lead)


def describe_recurrent(path: str, module: Any, shape: Shape) -> Described:
    """The way from spikes back to their neurons: all-to-all, or one weight for each neuron.

    A weight for each is a diagonal matrix where the neurons are flat, since few readers know
    NIR's Scale, and a Scale elsewhere.

    Raises: `UnsupportedModuleError`.
    """
    if not isinstance(module, (RLeakyOneToOne, RSynapticOneToOne)):
        described = describe(path, module, shape, 1)
        assert described is not None
        return described
    weights = _array(module.V)
    try:
        each = np.broadcast_to(weights, shape)
    except ValueError as error:
        raise refuse(
            path, "V does not fit the neurons", "give V the shape of a sample", f"{weights.shape}"
        ) from error
    dense = np.diag(each) if len(shape) == 1 else each
    name: Kind = "linear" if len(shape) == 1 else "scale"
    key = "weight" if len(shape) == 1 else "scale"
    return Described(name, {key: dense}, {}, weights.size, dense.size - weights.size)


def check_known(path: str, module: nn.Module) -> None:
    """Refuses a module outside the whitelist."""
    if type(module) not in HANDLERS and type(module) not in NEURONS:
        raise refuse(
            path,
            f"{type(module).__name__} has no exact meaning in NIR",
            _REMEDIES.get(type(module), "use only the supported modules: " + _supported()),
        )


def _supported() -> str:
    return ", ".join(sorted(kind.__name__ for kind in (*HANDLERS, *NEURONS)))


def _array(value: Tensor) -> Floats:
    """A parameter as the module holds it, not copied; half precision as float64."""
    if value.dtype not in (torch.float32, torch.float64):
        return _double(value)
    array: Floats = value.detach().cpu().numpy()
    return array


def _double(value: Tensor) -> Floats:
    array: Floats = value.detach().cpu().double().numpy()
    return array


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[1])) if isinstance(value, (tuple, list)) else (int(value),) * 2


def _linear(path: str, module: Any, shape: Shape, lead: int) -> Described:
    if len(shape) != 1:
        raise refuse(
            path, "a linear layer needs flat samples", "put nn.Flatten before it", str(shape)
        )
    arrays = _weights(module)
    return Described("linear", arrays, weights=arrays["weight"].size)


def _weights(module: Any) -> dict[str, Floats]:
    arrays = {"weight": _array(module.weight)}
    if module.bias is not None:
        arrays["bias"] = _array(module.bias)
    return arrays


def _conv(path: str, module: Any, shape: Shape, lead: int) -> Described:
    arrays = _weights(module)
    found = describe_conv(path, module, arrays["weight"], shape)
    return replace(found, arrays={**arrays, **found.arrays})


def _norm(path: str, module: Any, shape: Shape, lead: int) -> Described:
    if module.running_mean is None:
        raise refuse(
            path,
            "batch normalisation without running statistics depends on the batch",
            "use track_running_stats=True",
        )
    scale = 1.0 / np.sqrt(_double(module.running_var) + module.eps)
    if module.weight is not None:
        scale = scale * _double(module.weight)
    shift = -_double(module.running_mean) * scale
    if module.bias is not None:
        shift = shift + _double(module.bias)
    return Described("norm", {"scale": scale, "shift": shift})


def _average_pool(path: str, module: Any, shape: Shape, lead: int) -> Described:
    kernel, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
    _check_image(path, shape)
    reach = [n + 2 * p - k for n, p, k in zip(shape[1:], padding, kernel, strict=True)]
    if module.ceil_mode and any(r % s for r, s in zip(reach, stride, strict=True)):
        raise refuse(path, "NIR's pooling has no ceil_mode", "use ceil_mode=False")
    if padding != (0, 0) and not module.count_include_pad:
        raise refuse(path, "padding must count as zeros", "use count_include_pad=True")
    divisor = module.divisor_override or kernel[0] * kernel[1]
    return _pool(kernel, stride, padding, 1.0 / divisor)


def _adaptive_pool(path: str, module: Any, shape: Shape, lead: int) -> Described:
    _check_image(path, shape)
    wanted = module.output_size
    wanted = wanted if isinstance(wanted, (tuple, list)) else (wanted, wanted)
    size = [n if w is None else w for n, w in zip(shape[1:], wanted, strict=True)]
    if any(n % w for n, w in zip(shape[1:], size, strict=True)):
        raise refuse(
            path,
            "adaptive pooling has windows of unequal size here",
            "choose an output size that divides the input's",
            f"{shape[1:]} to {tuple(size)}",
        )
    kernel = _pair([n // w for n, w in zip(shape[1:], size, strict=True)])
    return _pool(kernel, kernel, (0, 0), 1.0 / (kernel[0] * kernel[1]))


def _check_image(path: str, shape: Shape) -> None:
    if len(shape) != 3:
        raise refuse(path, "pooling needs samples (C, H, W)", "pass images", str(shape))


def _pool(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], scale: float
) -> Described:
    pairs = {"kernel": kernel, "stride": stride, "padding": padding}
    return Described("pool", {"scale": np.array(scale)}, pairs)


def _flatten(path: str, module: Any, shape: Shape, lead: int) -> Described:
    return flatten(path, module.start_dim, module.end_dim, shape, lead)


def flatten(path: str, start_dim: int, end_dim: int, shape: Shape, lead: int) -> Described:
    """A flatten of torch, whose dimensions count the leading axes, as one of NIR."""
    rank = len(shape) + lead
    start, end = start_dim % rank, end_dim % rank
    if start < lead:
        raise refuse(
            path,
            "this flatten merges the batch or time into the sample",
            f"use start_dim={lead}" + (" or put it inside PerStep" if lead == 2 else ""),
            f"start_dim={start_dim}",
        )
    if start >= end:
        return Described("flatten")
    return Described("flatten", {}, {"dims": (start - lead, end - lead)})


def _remove(path: str, module: Any, shape: Shape, lead: int) -> None:
    return None


def _accumulator(path: str, module: Any, shape: Shape, lead: int) -> Described:
    if lead != 2:
        raise refuse(
            path, "Accumulator runs over all steps and cannot stand inside PerStep", "move it out"
        )
    return Described("accumulator", {"ones": np.broadcast_to(1.0, shape)})


HANDLERS: dict[type[nn.Module], Callable[[str, Any, Shape, int], Described | None]] = {
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.AvgPool1d: average_pool_1d,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
    nn.Flatten: _flatten,
    nn.Dropout: _remove,
    nn.Dropout1d: _remove,
    nn.Dropout2d: _remove,
    nn.Identity: _remove,
    Accumulator: _accumulator,
}

NEURONS: tuple[type[nn.Module], ...] = (*STATES, LIF, CubaLIF)
"""Modules with a membrane that spike; `describe_neuron` says what they become."""

_REMEDIES: dict[type[nn.Module], str] = {
    nn.MaxPool2d: "use AvgPool2d, or a convolution with a stride",
    nn.AdaptiveMaxPool2d: "use AdaptiveAvgPool2d",
    nn.ReLU: "use a spiking neuron, or remove it: spikes are not negative",
    nn.LayerNorm: "use BatchNorm2d directly after a convolution",
    nn.MaxPool1d: "use a convolution with a stride",
    nn.MultiheadAttention: "attention cannot be written in NIR",
}
