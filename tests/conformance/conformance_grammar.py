"""Random networks of the grammar that `trace` supports, for property tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import snntorch
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from neurokd.neurons.surrogate import triangle

Shape = tuple[int, ...]
Draw = Callable[[st.SearchStrategy[Any]], Any]
_STATE: dict[str, Any] = {
    "init_hidden": True,
    "reset_mechanism": "zero",
    "reset_delay": False,
}


@dataclass(frozen=True)
class RandomNetwork:
    """A single-step module in float64 and what is fed to it; x (T, B, *shape)."""

    module: nn.Module
    x: Tensor


class Added(nn.Module):
    """What two ways make of the same input, added."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.left(x) + self.right(x)
        return y


def _uniform(shape: Shape, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(shape, dtype=torch.double)


def _neuron(draw: Draw, shape: Shape) -> nn.Module:
    kinds = ["leaky", "leaky", "integrate", "synaptic"]
    if len(shape) == 1:
        kinds += ["rleaky", "one to one"]  # RSynaptic resets a step late, and is refused
    kind = draw(st.sampled_from(kinds))
    own = shape if draw(st.booleans()) else ()  # a value a neuron, or one for all
    parameters = {
        "beta": _uniform(own, 0.1, 0.95),
        "threshold": _uniform(own, 0.2, 1.0),
        "spike_grad": triangle(),
        **_STATE,
    }
    if kind == "leaky":
        return snntorch.Leaky(**parameters)
    if kind == "integrate":
        return snntorch.Leaky(**{**parameters, "beta": 1.0})
    if kind == "synaptic":
        return snntorch.Synaptic(alpha=_uniform(own, 0.1, 0.9), **parameters)
    if kind == "one to one":
        return snntorch.RLeaky(all_to_all=False, V=float(torch.randn(())), **parameters)
    return snntorch.RLeaky(linear_features=shape[0], **parameters)


def _convolution(draw: Draw, shape: Shape, out: int, same: bool = False) -> nn.Module:
    """Onto the same size if asked; normalised or not."""
    kernel = draw(st.sampled_from([1, 3] if same else [1, 2, 3][: min(shape[1:])]))
    bias = draw(st.booleans())
    if same:
        layer = nn.Conv2d(
            shape[0], out, kernel, padding=draw(st.sampled_from(["same", kernel // 2])), bias=bias
        )
    else:
        dilation = draw(st.integers(1, 2))
        layer = nn.Conv2d(
            shape[0],
            out,
            kernel,
            stride=draw(st.integers(1, 2)),
            padding=draw(st.integers(0, 2)),
            dilation=dilation if dilation * (kernel - 1) < min(shape[1:]) else 1,
            bias=bias,
        )
    if draw(st.booleans()):
        return nn.Sequential(layer, nn.BatchNorm2d(out))
    return layer


def _size(layer: nn.Module, shape: Shape) -> Shape:
    """The shape of one sample behind a layer."""
    with torch.no_grad():
        return tuple(layer.double().eval()(torch.zeros(1, *shape, dtype=torch.double)).shape[1:])


@st.composite
def networks(draw: Draw) -> RandomNetwork:
    """One to four layers of neurons over an image or a row, each with random weights."""
    torch.manual_seed(draw(st.integers(0, 2**31 - 1)))
    image = draw(st.booleans())
    shape: Shape = (draw(st.integers(1, 2)), draw(st.integers(4, 7)), draw(st.integers(4, 7)))
    shape = shape if image else (draw(st.integers(1, 8)),)
    begin = shape
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        found: list[nn.Module] = []
        if len(shape) == 3:
            kind = draw(st.sampled_from(["conv", "conv", "residual", "pool", "flatten"]))
            if kind == "conv":
                found.append(_convolution(draw, shape, draw(st.integers(1, 4))))
            elif kind == "residual":
                out = draw(st.sampled_from([shape[0], 3]))
                identity = out == shape[0] and draw(st.booleans())
                left = _convolution(draw, shape, out, same=True)
                right = nn.Identity() if identity else _convolution(draw, shape, out, same=True)
                found.append(Added(left, right))
            elif kind == "pool" and min(shape[1:]) >= 2:
                padding = draw(st.integers(0, 1))
                found.append(nn.AvgPool2d(2, draw(st.integers(1, 2)), padding))
                found.append(_convolution(draw, _size(found[0], shape), 2, same=True))
            else:
                found.append(nn.Flatten())
                found.append(nn.Linear(_size(found[0], shape)[0], draw(st.integers(1, 6))))
        else:
            found.append(nn.Linear(shape[0], draw(st.integers(1, 6)), bias=draw(st.booleans())))
            if draw(st.booleans()):
                found.append(nn.Dropout(0.5))
        for layer in found:
            shape = _size(layer, shape)
        layers += [*found, _neuron(draw, shape)]
    module = nn.Sequential(*layers)
    _randomise(module)
    steps, batch = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    return RandomNetwork(module.double().eval(), _uniform((steps, batch, *begin), 0.0, 1.0))


def _randomise(module: nn.Module) -> None:
    """Continuous weights with which most neurons fire now and then."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            layer.double()
            fan_in = layer.weight[0].numel()
            nn.init.normal_(layer.weight, 0.4 / fan_in**0.5, 1.0 / fan_in**0.5)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -0.1, 0.3)
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.double()
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.3, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.1, 0.3)
