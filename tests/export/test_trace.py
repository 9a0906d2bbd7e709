"""Tracing gives the torch module spike for spike, or names the module it refuses."""

from __future__ import annotations

import importlib
from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor, nn

from neurokd.errors import NeurokdError, ShapeMismatchError, UnsupportedModuleError, UsageError
from neurokd.export import simulate_nir, trace
from neurokd.models.convnet import ConvNet
from neurokd.neurons import LIF, Accumulator, PerStep
from neurokd.neurons.surrogate import triangle


def random_norms(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.05, 0.2)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return module.double()


def leaky(**settings: object) -> snntorch.Leaky:
    arguments = {
        "beta": 0.75,
        "init_hidden": True,
        "reset_mechanism": "zero",
        "reset_delay": False,
        "spike_grad": triangle(),
        **settings,
    }
    return snntorch.Leaky(**arguments)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(PerStep(nn.Conv2d(2, 4, 3, 1, 1)), LIF(0.5, 0.5))
        self.left = PerStep(nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4)))
        self.right = PerStep(nn.Conv2d(4, 4, 1))
        self.lif = LIF(0.25, 0.4)
        self.pool = PerStep(nn.AvgPool2d(2))
        self.classifier = PerStep(nn.Linear(4 * 3 * 2, 3))
        self.drop = nn.Dropout(0.5)
        self.readout = Accumulator()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.lif(self.left(x) + self.right(x) + x)
        x = self.drop(self.pool(x)).flatten(2)
        return self.readout(self.classifier(x))


def test_conv_net_with_random_normalisation_is_equal_spike_for_spike() -> None:
    torch.manual_seed(0)
    model = random_norms(ConvNet(spiking=True, channels=(4, 6), kernels=(5, 3), strides=(2, 1)))
    graph = trace(model, torch.rand(2, 1, 10, 14, dtype=torch.double), steps=6)
    x = torch.rand(6, 3, 1, 10, 14, dtype=torch.double)
    model.eval()
    seen = {}
    for path, module in model.named_modules():
        if isinstance(module, LIF):
            module.register_forward_hook(lambda _, __, y, p=path: seen.__setitem__(p, y))
    with torch.no_grad():
        expected = model(x)
    run = simulate_nir(graph, x.numpy())
    assert len(seen) == 2
    for path, spikes in seen.items():
        assert 0.01 < spikes.mean() < 0.9
        np.testing.assert_array_equal(run.records[path.replace(".", "_")], spikes.numpy())
    # the weights are stored as float32
    np.testing.assert_allclose(run.output, expected.numpy(), atol=1e-6)
    assert graph.metadata["steps"] == 6 and graph.metadata["dt"] == 1e-4
    assert graph.metadata["reset"] == "zero" and graph.metadata["spike_rule"] == ">"
    assert not any(isinstance(node, nir.AvgPool2d) for node in graph.nodes.values())


def test_residual_additions_become_several_edges() -> None:
    torch.manual_seed(1)
    model = random_norms(Residual())
    graph = trace(model, torch.rand(1, 2, 6, 4, dtype=torch.double))
    arriving = [source for source, target in graph.edges if target == "lif"]
    assert arriving == ["left_layer_0", "right_layer", "stem_1"]
    x = torch.rand(8, 3, 2, 6, 4, dtype=torch.double)
    model.eval()
    with torch.no_grad():
        expected = model(x).numpy()
    run = simulate_nir(graph, x.numpy())
    assert 0.05 < run.records["lif"].mean() < 0.95
    np.testing.assert_allclose(run.output, expected, atol=1e-5)


def test_plain_snntorch_network_with_its_time_loop_outside() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1, dilation=1),
        nn.Identity(),
        leaky(beta=torch.rand(3, 4, 4) * 0.8 + 0.1, threshold=torch.rand(3, 4, 4) * 0.5 + 0.2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 5, bias=False),
        leaky(beta=1.0, threshold=0.1, learn_threshold=True),
    ).double()
    graph = trace(model, torch.rand(2, 1, 7, 7, dtype=torch.double), dt=1e-3)
    x = 4 * torch.rand(20, 2, 1, 7, 7, dtype=torch.double)
    with torch.no_grad():
        expected = np.stack([model(step).numpy() for step in x])
    run = simulate_nir(graph, x.numpy())
    assert isinstance(graph.nodes["6"], nir.IF) and isinstance(graph.nodes["2"], nir.LIF)
    assert graph.nodes["2"].tau.shape == (3, 4, 4)
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(run.output, expected)


def test_encoding_of_a_leaky_neuron() -> None:
    graph = trace(nn.Sequential(nn.Linear(2, 3), leaky(beta=0.75, threshold=2.0)), torch.rand(1, 2))
    node = graph.nodes["1"]
    np.testing.assert_allclose(node.tau, np.full(3, 4e-4), rtol=1e-6)
    np.testing.assert_allclose(node.r, np.full(3, 4.0), rtol=1e-6)
    np.testing.assert_array_equal(node.v_threshold, np.full(3, 2.0))
    assert not node.v_leak.any() and not node.v_reset.any()
    assert node.tau.dtype == np.float32


def test_beta_is_clamped_as_in_forward() -> None:
    graph = trace(nn.Sequential(nn.Linear(2, 3), leaky(beta=1.2)), torch.rand(1, 2))
    assert isinstance(graph.nodes["1"], nir.IF)


def test_the_module_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), leaky())
    model[1].eval()
    before = model(torch.rand(4, 2))
    membrane = model[2].mem
    state = {name: value.clone() for name, value in model.state_dict().items()}
    trace(model, torch.rand(1, 2))
    assert before.shape == (4, 3)
    assert model.training and model[0].training and not model[1].training
    assert model[2].mem is membrane
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_pool_before_two_readers_is_folded_into_both() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AvgPool2d(2, count_include_pad=True, padding=1)
            self.a = nn.Conv2d(1, 2, 3, padding="same")
            self.b = nn.Conv2d(1, 2, 1)
            self.neuron = leaky(threshold=0.2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.pool(x)
            return self.neuron(torch.add(self.a(x), self.b(x)))

    torch.manual_seed(3)
    model = Fork().double()
    graph = trace(model, torch.rand(1, 1, 6, 6, dtype=torch.double))
    x = torch.rand(10, 2, 1, 6, 6, dtype=torch.double)
    with torch.no_grad():
        expected = np.stack([model(step).numpy() for step in x])
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(simulate_nir(graph, x.numpy()).output, expected)


class Functional(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.body = nn.Sequential(nn.Linear(4, 4))
        self.neuron = leaky()

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if self.kind == "relu":
            y = torch.relu(y)
        elif self.kind == "constant":
            y = y + 1.0
        elif self.kind == "branch":
            y = y if y.sum() > 0 else -y
        elif self.kind == "loop":
            return self.neuron(self.neuron(y))
        elif self.kind == "dropped":
            self.body(x)
        return self.neuron(y)


def net(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Sequential(*layers))


REFUSED = {
    "maxpool": (net(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), leaky()), "0.1", "AvgPool2d"),
    "relu": (net(nn.Conv2d(1, 2, 3), nn.ReLU(), leaky()), "0.1", "spiking neuron"),
    "rectangle": (net(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, (3, 2)), leaky()), "0.1", "square"),
    "subtract": (net(nn.Conv2d(1, 2, 3), leaky(reset_mechanism="subtract")), "0.1", "zero"),
    "none": (net(nn.Conv2d(1, 2, 3), leaky(reset_mechanism="none")), "0.1", "zero"),
    "delay": (net(nn.Conv2d(1, 2, 3), leaky(reset_delay=True)), "0.1", "reset_delay=False"),
    "graded": (net(nn.Conv2d(1, 2, 3), leaky(graded_spikes_factor=2.0)), "0.1", "factor=1"),
    "output": (net(nn.Conv2d(1, 2, 3), leaky(output=True), leaky()), "0.2", "without the state"),
    "beta 0": (net(nn.Conv2d(1, 2, 3), leaky(beta=0.0)), "0.1", "beta"),
    "beta shape": (net(nn.Conv2d(1, 2, 3), leaky(beta=torch.rand(6))), "0.1", "shape"),
    "norm": (net(leaky(), nn.BatchNorm2d(1), leaky()), "0.1", "directly after"),
    "batch norm": (
        net(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), leaky()),
        "0.1",
        "track_running_stats",
    ),
    "average": (net(leaky(), nn.AvgPool2d(2), leaky()), "0.1", "Conv2d or Linear"),
    "ceil": (net(nn.AvgPool2d(4, ceil_mode=True), nn.Conv2d(1, 1, 1), leaky()), "0.0", "ceil_mode"),
    "adaptive": (net(nn.AdaptiveAvgPool2d(4), nn.Conv2d(1, 1, 1), leaky()), "0.0", "divides"),
    "flatten": (net(nn.Conv2d(1, 2, 3), nn.Flatten(0), leaky()), "0.1", "start_dim"),
    "other neuron": (net(nn.Conv2d(1, 2, 3), snntorch.Lapicque(0.9, init_hidden=True)), "0.1", ""),
    "mixed": (net(PerStep(nn.Conv2d(1, 2, 3)), leaky()), "0.1", "LIF"),
    "padding": (net(nn.Conv2d(1, 2, 3, 1, 1, padding_mode="reflect"), leaky()), "0.0", "zeros"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_names_its_module_and_a_remedy(name: str) -> None:
    module, path, remedy = REFUSED[name]
    with pytest.raises(NeurokdError) as caught:
        trace(module, torch.rand(2, 1, 6, 6))
    assert isinstance(caught.value, UnsupportedModuleError)
    if path:
        assert caught.value.where == f"module {path!r}"
    assert remedy in caught.value.line() and caught.value.remedy
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("relu", "'relu'"),
        ("constant", "constant"),
        ("branch", "traced"),
        ("loop", "more than once"),
        ("dropped", "never used"),
    ],
)
def test_operations_outside_the_whitelist_are_refused(kind: str, words: str) -> None:
    with pytest.raises(UnsupportedModuleError, match=words):
        trace(Functional(kind), torch.rand(2, 4))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sample": [[0.0] * 4]}, "no tensor"),
        ({"sample": np.zeros((1, 4))}, "no tensor"),
        ({"sample": torch.zeros(4)}, "batch axis"),
        ({"sample": torch.zeros(0, 4)}, "batch axis"),
        ({"dt": "x"}, "dt='x'"),
        ({"dt": 0}, "dt=0"),
        ({"dt": float("inf")}, "dt=inf"),
        ({"dt": float("nan")}, "dt=nan"),
        ({"dt": None}, "dt=None"),
        ({"steps": 1.5}, "steps=1.5"),
        ({"steps": 0}, "steps=0"),
        ({"steps": True}, "steps=True"),
        ({"steps": "3"}, "steps='3'"),
        ({"reset_none": ["threshold"]}, "unknown reset_none"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"sample": torch.zeros(1, 4), **arguments}
    with pytest.raises((UsageError, ShapeMismatchError)) as caught:
        trace(nn.Sequential(nn.Linear(4, 4), leaky()), **settings)
    assert words in caught.value.line() and caught.value.expected
    if "sample" in arguments:
        assert caught.value.remedy


def test_an_unused_layer_and_a_free_parameter_are_not_dropped() -> None:
    class Extra(nn.Module):
        def __init__(self, free: bool) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.neuron = leaky()
            if free:
                self.gain = nn.Parameter(torch.ones(4))
            else:
                self.head = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.neuron(self.body(x))

    with pytest.raises(UnsupportedModuleError, match="head"):
        trace(Extra(free=False), torch.rand(1, 4))
    with pytest.raises(UnsupportedModuleError, match="gain"):
        trace(Extra(free=True), torch.rand(1, 4))


def test_the_package_gives_functions_whoever_imported_the_modules_first() -> None:
    importlib.import_module("neurokd.export.trace")
    package = importlib.import_module("neurokd.export")
    assert callable(package.trace) and callable(package.read_nir) and callable(package.lower)
