"""Functions of torch in forward: those that are a known module, and remedies for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurokd.errors import UnsupportedModuleError
from neurokd.export import simulate_nir, trace
from neurokd.neurons.surrogate import triangle

pytestmark = pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")  # of torch 2.3

LIF: dict[str, Any] = {
    "beta": 0.7,
    "threshold": 0.3,
    "init_hidden": True,
    "reset_mechanism": "zero",
    "reset_delay": False,
    "spike_grad": triangle(),
}
Between = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Convolution, spikes, what is asked, and a linear layer with spikes."""

    def __init__(self, between: Between, axes: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1) if axes == 2 else nn.Conv1d(1, 3, 3, padding=1)
        self.lif = snntorch.Leaky(**LIF)
        self.fc = nn.LazyLinear(4)
        self.last = snntorch.Leaky(**LIF)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.fc(self.between(self, self.lif(self.conv(x)))))
        return y


def ready(between: Between, axes: int = 2) -> tuple[Net, Tensor]:
    """The network in float64, and six steps of input for it."""
    torch.manual_seed(3)
    x = torch.rand(6, 2, 1, *(8,) * axes, dtype=torch.double) * 2
    net = Net(between, axes).double().eval()
    with torch.no_grad():
        net(x[0])  # lazy weights
        net.fc.weight.mul_(3)
    for neuron in (net.lif, net.last):
        neuron.reset_mem()
    return net, x


def check_equal(net: nn.Module, x: Tensor) -> nir.NIRGraph:
    graph = trace(net, x[0])
    with torch.no_grad():
        expected = torch.stack([net(step) for step in x]).numpy()
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(simulate_nir(graph, x.numpy()).output, expected)
    return graph


EXACT: dict[str, tuple[Between, list[str]]] = {
    "avg_pool2d": (
        lambda net, x: torch.flatten(functional.avg_pool2d(x, 2), 1),
        ["avg_pool2d", "flatten"],
    ),
    "avg_pool2d by names": (
        lambda net, x: functional.avg_pool2d(
            x, kernel_size=3, stride=(2, 2), padding=1, divisor_override=4
        ).flatten(start_dim=1),
        ["avg_pool2d", "flatten"],
    ),
    "two of different scales": (
        lambda net, x: torch.flatten(functional.avg_pool2d(functional.avg_pool2d(x, 2), 2), 1),
        ["avg_pool2d", "avg_pool2d_2", "flatten"],
    ),
    "adaptive_avg_pool2d": (
        lambda net, x: functional.adaptive_avg_pool2d(x, (2, 1)).view(x.size(0), -1),
        ["adaptive_avg_pool2d", "flatten"],
    ),
    "dropout": (
        lambda net, x: functional.dropout(x, 0.5, training=net.training).flatten(1),
        ["flatten"],
    ),
    "torch.dropout": (lambda net, x: torch.dropout(x, 0.5, net.training).flatten(1), ["flatten"]),
    "flatten by name": (lambda net, x: torch.flatten(input=x, start_dim=1), ["flatten"]),
    "view in two steps": (
        lambda net, x: x.view(x.size(0), 3, 64).reshape(x.shape[0], -1),
        ["flatten", "flatten_2"],
    ),
    "torch.reshape": (lambda net, x: torch.reshape(x, (-1, 192)), ["flatten"]),
    "view that changes nothing": (lambda net, x: x.view(x.shape).flatten(1), ["flatten"]),
    "to and double": (lambda net, x: x.to("cpu").double().flatten(1), ["flatten"]),
    "sum begins with 0": (lambda net, x: sum([x.flatten(1)]), ["flatten"]),  # type: ignore[return-value, arg-type]
}


@pytest.mark.parametrize("name", EXACT)
def test_functions_are_their_module_spike_for_spike(name: str) -> None:
    between, nodes = EXACT[name]
    graph = check_equal(*ready(between))
    assert list(graph.nodes) == ["input", "conv", "lif", *nodes, "fc", "last", "output"]


@pytest.mark.parametrize("padding", [0, 1])
def test_avg_pool1d_is_a_convolution(padding: int) -> None:
    net, x = ready(lambda _, y: functional.avg_pool1d(y, 3, 2, padding).flatten(1), axes=1)
    pool = check_equal(net, x).nodes["avg_pool1d"]
    assert isinstance(pool, nir.Conv1d) and pool.weight.shape == (3, 3, 3)
    np.testing.assert_array_equal(pool.weight, np.repeat(np.eye(3)[:, :, None] / 3, 3, axis=2))


def test_avg_pool1d_as_a_module_is_the_function() -> None:
    pool = nn.AvgPool1d(2, 2)
    net, x = ready(lambda _, y: pool(y).flatten(1), axes=1)
    net.pool = pool
    function, _ = ready(lambda _, y: functional.avg_pool1d(y, 2).flatten(1), axes=1)
    nodes = check_equal(net, x).nodes
    expected = check_equal(function, x).nodes["avg_pool1d"]
    np.testing.assert_array_equal(nodes["pool"].weight, expected.weight)


def test_a_tensor_that_is_added_more_than_once_counts_so_often() -> None:
    def between(net: Net, y: Tensor) -> Tensor:
        y = y + y
        return (y + net.conv2(y) + y).flatten(1)

    net, x = ready(lambda _, y: y.flatten(1))
    net.conv2 = nn.Conv2d(3, 3, 3, padding=1).double()
    net.between = between
    graph = check_equal(net, x)
    scales = {name: n.scale.flat[0] for name, n in graph.nodes.items() if isinstance(n, nir.Scale)}
    assert scales == {"lif_times_2": 2, "lif_times_4": 4}
    stored = [n.weight.size for n in graph.nodes.values() if hasattr(n, "weight")]
    assert graph.metadata["weights_stored"] == sum(stored) + 2 * 3 * 8 * 8


REFUSED: dict[str, tuple[Between, str, str]] = {
    "relu": (lambda net, x: functional.relu(x).flatten(1), "'relu'", "spiking neuron"),
    "torch.relu": (lambda net, x: torch.relu(x).flatten(1), "'relu'", "spiking neuron"),
    "method relu": (lambda net, x: x.relu().flatten(1), "'relu'", "spiking neuron"),
    "max_pool2d": (lambda net, x: functional.max_pool2d(x, 1).flatten(1), "max_pool2d", "avg_pool"),
    "dropout": (lambda net, x: functional.dropout(x).flatten(1), "in evaluation", "self.training"),
    "scaled": (lambda net, x: (x * 2).flatten(1), "'mul'", "weights"),
    "divided": (lambda net, x: (x / 2).flatten(1), "'truediv'", "weights"),
    "shifted": (lambda net, x: (x + 1).flatten(1), "constant", "bias"),
    "less": (lambda net, x: (x - x).flatten(1), "'sub'", "negate"),
    "mean": (lambda net, x: x.mean((2, 3)), "'mean'", "AdaptiveAvgPool2d"),
    "joined": (lambda net, x: torch.cat([x, x], 1).flatten(1), "'cat'", "add"),
    "weights": (lambda net, x: x.flatten(1) @ net.fc.weight.t(), "'fc.weight'", "layer"),
    "permuted": (lambda net, x: x.permute(0, 2, 3, 1).flatten(1), "'permute'", "order"),
    "another view": (lambda net, x: x.view(x.size(0), 8, 24).flatten(1), "merge axes", "flatten"),
    "settings": (
        lambda net, x: functional.avg_pool2d(x, 2, ceil_mode=True, stride=4).flatten(1),
        "ceil_mode",
        "ceil_mode=False",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_functions_are_refused_with_a_remedy_of_their_own(name: str) -> None:
    between, words, remedy = REFUSED[name]
    torch.manual_seed(0)
    net = Net(lambda net, x: x.flatten(1))
    net(torch.rand(1, 1, 8, 8))
    net.between = between
    with pytest.raises(UnsupportedModuleError) as caught:
        trace(net, torch.rand(2, 1, 8, 8))
    assert words in caught.value.line() and remedy in caught.value.remedy
    assert caught.value.where.startswith("module ")
