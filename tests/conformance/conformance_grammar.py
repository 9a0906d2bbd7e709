"""Random networks of the grammar that `trace` supports, for property tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from conformance_forms import FORMS, MOST_STATES, Network, Stage, in_form
from conformance_neurons import Draw, Shape, random_neuron, uniform
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class RandomNetwork:
    """A module in float64, how it is run, and what is fed to it; x (T, B, *shape)."""

    module: nn.Module
    form: str
    x: Tensor


class Added(nn.Module):
    """What two ways make of the same input, added."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.left(x) + self.right(x)
        return y


class AddedTwice(nn.Module):
    """z = f(x) + x; g(z) + z + x: what comes in counts twice, or three times."""

    def __init__(self, first: nn.Module, second: nn.Module, often: bool) -> None:
        super().__init__()
        self.first, self.second, self.often = first, second, often

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.first(x) + x
        y: Tensor = self.second(z) + z + x
        return y + x if self.often else y


class Called(nn.Module):
    """A function of torch, as people call it in forward."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


_FLATTENED: tuple[Callable[[], nn.Module], ...] = (
    nn.Flatten,
    lambda: Called(lambda x: torch.flatten(x, 1)),
    lambda: Called(lambda x: x.view(x.size(0), -1)),
    lambda: Called(lambda x: x.reshape(x.shape[0], -1)),
)


def _convolution(draw: Draw, shape: Shape, out: int, same: bool = False) -> nn.Module:
    """Along one axis or two, onto the same size if asked; normalised or not."""
    axes = len(shape) - 1
    sizes = [1, 3] if same else [1, 2, 3]
    kernel = draw(st.sampled_from([k for k in sizes if k <= min(shape[1:])]))
    wide = kernel
    if axes == 2 and kernel != 2 and min(shape[1:]) >= 3:
        wide = draw(st.sampled_from([1, 3]))
    dilation = draw(st.integers(1, 2))
    if dilation * (max(kernel, wide) - 1) >= min(shape[1:]):
        dilation = 1
    groups = draw(st.sampled_from([1, math.gcd(shape[0], out)]))
    sides = (kernel, wide)[:axes]
    conv: Any = nn.Conv2d if axes == 2 else nn.Conv1d
    layer = conv(
        shape[0],
        out,
        sides,
        stride=1 if same else draw(st.integers(1, 2)),
        padding="same" if same else draw(st.integers(0, 2)),
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
    )
    if draw(st.booleans()):
        return nn.Sequential(layer, nn.BatchNorm2d(out) if axes == 2 else nn.BatchNorm1d(out))
    return layer


def _pool(draw: Draw, axes: int) -> nn.Module:
    stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 1))
    if axes == 1:
        if draw(st.booleans()):
            return nn.AvgPool1d(2, stride, padding)
        return Called(lambda x: functional.avg_pool1d(x, 2, stride, padding))
    if draw(st.booleans()):
        return Called(lambda x: functional.avg_pool2d(x, 2, stride=stride, padding=padding))
    return nn.AvgPool2d(2, stride, padding)


def _size(layer: nn.Module, shape: Shape) -> Shape:
    """The shape of one sample behind a layer."""
    with torch.no_grad():
        return tuple(layer.double().eval()(torch.zeros(1, *shape, dtype=torch.double)).shape[1:])


def _layers(draw: Draw, shape: Shape) -> list[nn.Module]:
    """What stands before a layer of neurons."""
    if len(shape) == 1:
        features = draw(st.integers(1, 6))
        found: list[nn.Module] = [nn.Linear(shape[0], features, bias=draw(st.booleans()))]
        if draw(st.booleans()):
            found.append(nn.BatchNorm1d(features))
        return [*found, nn.Dropout(0.5)] if draw(st.booleans()) else found
    kind = draw(st.sampled_from(["conv", "conv", "residual", "twice", "pool", "flatten"]))
    if kind == "conv":
        return [_convolution(draw, shape, draw(st.integers(1, 4)))]
    if kind == "twice":
        ways = [_convolution(draw, shape, shape[0], same=True) for _ in range(2)]
        return [AddedTwice(ways[0], ways[1], draw(st.booleans()))]
    if kind == "residual":
        out = draw(st.sampled_from([shape[0], 3]))
        identity = out == shape[0] and draw(st.booleans())
        left = _convolution(draw, shape, out, same=True)
        return [Added(left, nn.Identity() if identity else _convolution(draw, shape, out, True))]
    if kind == "pool" and min(shape[1:]) >= 2:
        pool = _pool(draw, len(shape) - 1)
        return [pool, _convolution(draw, _size(pool, shape), 2, same=True)]
    flat = draw(st.sampled_from(_FLATTENED))()
    return [flat, nn.Linear(math.prod(shape), draw(st.integers(1, 6)))]


@st.composite
def networks(draw: Draw) -> RandomNetwork:
    """One to four layers of neurons over an image, a sequence or a row, with random weights."""
    torch.manual_seed(draw(st.integers(0, 2**31 - 1)))
    form = draw(st.sampled_from(FORMS))
    axes = draw(st.integers(0, 2))
    sizes = [draw(st.integers(4, 7)) for _ in range(axes)]
    shape: Shape = (draw(st.integers(1, 2 if axes else 8)), *sizes)
    begin = shape
    stages: list[Stage] = []
    for _ in range(draw(st.integers(1, 4))):
        before = nn.Sequential(*_layers(draw, shape))
        after = _size(before, shape)
        neuron = random_neuron(draw, after, form.startswith("hidden"))
        stages.append(Stage(before, neuron, after == shape and draw(st.booleans())))
        shape = after
    if form == "explicit, loop outside":
        while len(stages) > 1 and sum(map(len, Network(stages, 1).rest())) > MOST_STATES:
            stages.pop()
    # the output is spikes alone: sums of other numbers depend on their order
    stages[-1] = stages[-1]._replace(skip=False)
    steps, batch = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    module = in_form(form, stages, steps)
    _randomise(module)
    x = uniform((steps, batch, *begin), 0.0, 1.0)
    if form == "explicit, one sample for all steps":
        x = x[:1].expand_as(x).clone()
    return RandomNetwork(module.double().eval(), form, x)


def _randomise(module: nn.Module) -> None:
    """Continuous weights with which most neurons fire now and then."""
    module.double()
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            fan_in = layer.weight[0].numel()
            nn.init.normal_(layer.weight, 0.4 / fan_in**0.5, 1.0 / fan_in**0.5)
            if layer.bias is not None and layer.bias.any():
                nn.init.uniform_(layer.bias, -0.1, 0.3)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.3, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.1, 0.3)
