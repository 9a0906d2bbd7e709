"""Which torch modules have an exact meaning in NIR, and what they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import snntorch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurokd.errors import UnsupportedModuleError
from neurokd.export.trace_layer import Floats, Kind
from neurokd.neurons import LIF, Accumulator

Shape = tuple[int, ...]
Described = tuple[Kind, dict[str, Floats], dict[str, tuple[int, int]]]
"""Kind, arrays and pairs of a layer; kind "flatten" with pairs empty is the identity."""


def refuse(path: str, reason: str, remedy: str, found: str = "") -> UnsupportedModuleError:
    """The error that names the module, the reason and the remedy."""
    return UnsupportedModuleError(
        reason, where=f"module {path or '(root)'!r}", found=found, remedy=remedy
    )


def describe(path: str, module: nn.Module, shape: Shape, lead: int) -> Described | None:
    """What a module is in NIR, or None where it is removed (Dropout, Identity).

    ``shape`` is the input's without its ``lead`` leading axes (batch, or time and batch).
    Raises: `UnsupportedModuleError` for every module or setting outside the whitelist.
    """
    handler = HANDLERS.get(type(module))
    if handler is None:
        raise refuse(
            path,
            f"{type(module).__name__} has no exact meaning in NIR",
            _REMEDIES.get(type(module), "use only the supported modules: " + _supported()),
        )
    return handler(path, module, shape, lead)


def _supported() -> str:
    return ", ".join(sorted(kind.__name__ for kind in HANDLERS))


def _array(value: Tensor) -> Floats:
    array: NDArray[Any] = value.detach().cpu().double().numpy()
    return np.array(array, dtype=np.float64)


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[1])) if isinstance(value, (tuple, list)) else (int(value),) * 2


def _linear(path: str, module: Any, shape: Shape, lead: int) -> Described:
    if len(shape) != 1:
        raise refuse(
            path, "a linear layer needs flat samples", "put nn.Flatten before it", str(shape)
        )
    return "linear", _weights(module), {}


def _weights(module: Any) -> dict[str, Floats]:
    arrays = {"weight": _array(module.weight)}
    if module.bias is not None:
        arrays["bias"] = _array(module.bias)
    return arrays


def _conv2d(path: str, module: Any, shape: Shape, lead: int) -> Described:
    kernel, stride, dilation = map(_pair, (module.kernel_size, module.stride, module.dilation))
    if module.groups != 1:
        raise refuse(
            path, "nir cannot type a grouped convolution", "use groups=1", f"groups={module.groups}"
        )
    if kernel[0] != kernel[1]:
        raise refuse(
            path, "nir cannot type a rectangular kernel", "use a square kernel", f"kernel {kernel}"
        )
    if module.padding_mode != "zeros":
        raise refuse(
            path, "NIR pads with zeros only", "use padding_mode='zeros'", module.padding_mode
        )
    if module.padding == "same":
        total = _pair([d * (k - 1) for d, k in zip(dilation, kernel, strict=True)])
        if any(t % 2 for t in total):
            raise refuse(
                path,
                "padding 'same' is not symmetric here",
                "use an odd kernel",
                f"kernel {kernel}",
            )
        padding = (total[0] // 2, total[1] // 2)
    else:
        padding = (0, 0) if module.padding == "valid" else _pair(module.padding)
    return "conv", _weights(module), {"stride": stride, "padding": padding, "dilation": dilation}


def _norm(path: str, module: Any, shape: Shape, lead: int) -> Described:
    if module.running_mean is None:
        raise refuse(
            path,
            "batch normalisation without running statistics depends on the batch",
            "use track_running_stats=True",
        )
    scale = 1.0 / np.sqrt(_array(module.running_var) + module.eps)
    if module.weight is not None:
        scale = scale * _array(module.weight)
    shift = -_array(module.running_mean) * scale
    if module.bias is not None:
        shift = shift + _array(module.bias)
    return "norm", {"scale": scale, "shift": shift}, {}


def _average_pool(path: str, module: Any, shape: Shape, lead: int) -> Described:
    kernel, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
    if module.ceil_mode:
        raise refuse(path, "NIR's pooling has no ceil_mode", "use ceil_mode=False")
    if padding != (0, 0) and not module.count_include_pad:
        raise refuse(path, "padding must count as zeros", "use count_include_pad=True")
    divisor = module.divisor_override or kernel[0] * kernel[1]
    return _pool(kernel, stride, padding, 1.0 / divisor)


def _adaptive_pool(path: str, module: Any, shape: Shape, lead: int) -> Described:
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


def _pool(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], scale: float
) -> Described:
    pairs = {"kernel": kernel, "stride": stride, "padding": padding}
    return "pool", {"scale": np.array(scale)}, pairs


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
        return "flatten", {}, {}
    return "flatten", {}, {"dims": (start - lead, end - lead)}


def _remove(path: str, module: Any, shape: Shape, lead: int) -> None:
    return None


def _lif(path: str, module: Any, shape: Shape, lead: int) -> Described:
    if lead != 2:
        raise refuse(
            path, "LIF runs over all steps and cannot stand inside PerStep", "move it outside"
        )
    return _cell(path, module.cell, shape)


def _leaky(path: str, module: Any, shape: Shape, lead: int) -> Described:
    if lead != 1:
        raise refuse(
            path,
            "a single-step Leaky cannot be mixed with multi-step modules",
            "use neurokd.neurons.LIF",
        )
    for setting, wanted in (("init_hidden", True), ("output", False)):
        if getattr(module, setting) is not wanted:
            raise refuse(
                path,
                "the neuron must keep its state and return only spikes",
                f"use {setting}={wanted}, with the time loop outside the module",
                f"{setting}={getattr(module, setting)}",
            )
    return _cell(path, module, shape)


def _cell(path: str, cell: Any, shape: Shape) -> Described:
    """A snnTorch Leaky as β and threshold of every neuron."""
    checks: Mapping[str, tuple[bool, str]] = {
        f"reset_mechanism={cell.reset_mechanism!r}": (
            cell.reset_mechanism == "zero" and int(cell.reset_mechanism_val) == 1,
            "use reset_mechanism='zero', the only reset NIR has",
        ),
        f"reset_delay={cell.reset_delay}": (not cell.reset_delay, "use reset_delay=False"),
        "inhibition=True": (not cell.inhibition, "use inhibition=False"),
        "state_quant": (not cell.state_quant, "use state_quant=False"),
        "graded_spikes_factor ≠ 1": (
            bool((cell.graded_spikes_factor == 1).all()),
            "use graded_spikes_factor=1",
        ),
        "a surrogate whose spike is not 1[v > threshold]": (
            _is_step(cell.spike_grad),
            "use a surrogate that is a step function going forward",
        ),
    }
    for found, (holds, remedy) in checks.items():
        if not holds:
            raise refuse(path, "this neuron cannot be written in NIR", remedy, found)
    beta = _array(cell.beta.clamp(0, 1))
    if not (beta > 0).all():
        raise refuse(
            path, "a neuron without memory has no NIR form", "use 0 < beta ≤ 1", f"{beta.min():g}"
        )
    arrays = {"beta": beta, "threshold": _array(cell.threshold)}
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise refuse(path, f"{name} is not finite", "train it again", f"{name}")
        try:
            arrays[name] = np.broadcast_to(value, shape).copy()
        except ValueError as error:
            raise refuse(
                path,
                f"{name} does not fit the neurons",
                f"give {name} the shape of a sample",
                f"{value.shape} for {shape}",
            ) from error
    if (arrays["beta"] == 1).any() and not (arrays["beta"] == 1).all():
        raise refuse(
            path, "some neurons leak and some do not", "use beta < 1, or beta = 1, for the layer"
        )
    return "lif", arrays, {}


def _is_step(spike_grad: Callable[[Tensor], Tensor]) -> bool:
    probe = torch.tensor([-1.0, 0.0, 1e-3, 1.0])
    with torch.no_grad():
        return torch.equal(spike_grad(probe), torch.tensor([0.0, 0.0, 1.0, 1.0]))


def _accumulator(path: str, module: Any, shape: Shape, lead: int) -> Described:
    if lead != 2:
        raise refuse(
            path, "Accumulator runs over all steps and cannot stand inside PerStep", "move it out"
        )
    return "accumulator", {"ones": np.ones(shape)}, {}


HANDLERS: dict[type[nn.Module], Callable[[str, Any, Shape, int], Described | None]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
    nn.Flatten: _flatten,
    nn.Dropout: _remove,
    nn.Dropout1d: _remove,
    nn.Dropout2d: _remove,
    nn.Identity: _remove,
    snntorch.Leaky: _leaky,
    LIF: _lif,
    Accumulator: _accumulator,
}

_REMEDIES: dict[type[nn.Module], str] = {
    nn.MaxPool2d: "use AvgPool2d, or a convolution with a stride",
    nn.AdaptiveMaxPool2d: "use AdaptiveAvgPool2d",
    nn.ReLU: "use a spiking neuron, or remove it: spikes are not negative",
    nn.LayerNorm: "use BatchNorm2d directly after a convolution",
    nn.MultiheadAttention: "attention cannot be written in NIR",
}
