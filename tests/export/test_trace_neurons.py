"""Every neuron against torch in float64, spike for spike; what NIR cannot follow is refused."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor, nn

from neurokd.errors import UnsupportedModuleError
from neurokd.export import simulate_nir, trace
from neurokd.neurons.surrogate import triangle

ZERO: dict[str, Any] = {
    "reset_mechanism": "zero",
    "reset_delay": False,
    "spike_grad": triangle(),
    "init_hidden": True,
}
KEPT: dict[str, Any] = {**ZERO, "reset_mechanism": "none", "reset_delay": True}
EACH = torch.linspace(0.1, 0.9, 6)


def equal_spikes(model: nn.Module, shape: tuple[int, ...], **options: Any) -> nir.NIRGraph:
    """The graph, after its spikes were found equal to the module's over 30 steps."""
    model = model.double()
    x = torch.rand(30, 2, *shape, dtype=torch.double) * 2
    graph = trace(model, x[0], **options)
    for module in model.modules():
        if isinstance(module, snntorch.SpikingNeuron):
            module.reset_mem()
    with torch.no_grad():
        expected = np.stack([model(step).numpy() for step in x])
    assert 0.02 < expected.mean() < 0.98
    np.testing.assert_array_equal(simulate_nir(graph, x.numpy()).output, expected)
    return graph


def kinds(graph: nir.NIRGraph) -> list[str]:
    return [type(node).__name__ for node in graph.nodes.values()][1:-1]


SYNAPTIC: dict[str, tuple[Any, Any, Any, list[str]]] = {
    "scalar": (0.5, 0.8, ZERO, ["CubaLIF"]),
    "for each": (EACH, EACH.flip(0), ZERO, ["CubaLIF"]),
    "no synapse": (0.0, 0.8, ZERO, ["CubaLIF"]),
    "no leak": (EACH, 1.0, ZERO, ["LI", "IF"]),
    "synapse keeps": (1.0, EACH, ZERO, ["I", "LIF"]),
    "both keep": (1.7, 1.2, ZERO, ["I", "IF"]),
    "no reset": (0.5, EACH, KEPT, ["CubaLI", "Threshold"]),
    "no reset, no leak": (0.5, 1.0, KEPT, ["LI", "I", "Threshold"]),
}


@pytest.mark.parametrize("name", SYNAPTIC)
def test_synaptic(name: str) -> None:
    torch.manual_seed(11)
    alpha, beta, settings, expected = SYNAPTIC[name]
    neuron = snntorch.Synaptic(alpha, beta, threshold=torch.rand(6) + 0.2, **settings)
    graph = equal_spikes(nn.Sequential(nn.Linear(4, 6), neuron), (4,), reset_none="threshold")
    assert kinds(graph) == ["Affine", *expected]
    assert graph.metadata["neurons"] == 6
    assert graph.metadata["reset"] == ("none" if settings is KEPT else "zero")


def test_encoding_of_a_synaptic_neuron() -> None:
    model = nn.Sequential(nn.Linear(2, 3), snntorch.Synaptic(0.5, 0.75, threshold=2.0, **ZERO))
    node = trace(model, torch.rand(1, 2), dt=1e-3).nodes["1"]
    # τ_syn = dt / (1 − α) = 2 dt, τ_mem = dt / (1 − β) = 4 dt, w_in = τ_syn / dt, r = τ_mem / dt
    for field, value in {"tau_syn": 2e-3, "tau_mem": 4e-3, "w_in": 2, "r": 4, "v_leak": 0}.items():
        np.testing.assert_allclose(getattr(node, field), np.full(3, value), rtol=1e-6)
    np.testing.assert_array_equal(node.v_threshold, np.full(3, 2.0))


@pytest.mark.parametrize("beta", [0.8, 1.0])
def test_leaky_without_reset_on_request(beta: float) -> None:
    torch.manual_seed(12)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), snntorch.Leaky(beta, **KEPT))
    with pytest.raises(UnsupportedModuleError, match='reset_none="threshold" in.*--reset-none'):
        trace(model, torch.rand(1, 4))
    graph = equal_spikes(model, (4,), reset_none="threshold")
    assert kinds(graph) == ["Linear", "LI" if beta < 1 else "I", "Threshold"]


def test_reset_of_both_kinds_is_stated() -> None:
    model = nn.Sequential(nn.Linear(2, 3), snntorch.Leaky(0.5, **KEPT), snntorch.Leaky(0.5, **ZERO))
    graph = trace(model, torch.rand(1, 2), reset_none="threshold")
    assert graph.metadata["reset"] == "mixed" and graph.metadata["neurons"] == 6


def test_all_to_all_recurrence_with_its_bias_in_the_layer_before() -> None:
    torch.manual_seed(13)
    neuron = snntorch.RLeaky(EACH, linear_features=6, threshold=0.7, **ZERO)
    nn.init.normal_(neuron.recurrent.bias, 0, 0.5)
    model = nn.Sequential(nn.Linear(4, 6), neuron)
    graph = equal_spikes(model, (4,))
    assert set(graph.edges) == {
        ("input", "0"), ("0", "1"), ("1", "1_recurrent"), ("1_recurrent", "1"), ("1", "output"),
    }  # fmt: skip
    assert isinstance(graph.nodes["1_recurrent"], nir.Linear)
    with torch.no_grad():
        np.testing.assert_array_equal(graph.nodes["0"].bias, model[0].bias + neuron.recurrent.bias)
    # the first step has the bias, too: from zero, v = W x + b + b_V
    drive = torch.zeros(1, 1, 4, dtype=torch.double)
    spikes = simulate_nir(graph, drive.numpy()).output[0, 0]
    np.testing.assert_array_equal(spikes, graph.nodes["0"].bias > 0.7)


def test_a_recurrent_bias_finds_its_layer_through_an_addition() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6, bias=False), nn.Linear(4, 6, bias=False)
            self.lif = snntorch.RLeaky(0.8, linear_features=6, **ZERO)

        def forward(self, x: Tensor) -> Tensor:
            return self.lif(self.a(x) + self.b(x))

    torch.manual_seed(14)
    graph = equal_spikes(Sum(), (4,))
    assert isinstance(graph.nodes["a"], nir.Affine) and isinstance(graph.nodes["b"], nir.Linear)


def test_a_recurrent_bias_without_such_a_layer_is_refused_and_a_zero_one_is_not() -> None:
    neuron = snntorch.RLeaky(0.8, linear_features=4, **ZERO)
    model = nn.Sequential(nn.Flatten(), neuron)
    with pytest.raises(UnsupportedModuleError, match=r"module '1'.*first step.*zero"):
        trace(model, torch.rand(1, 2, 2))
    nn.init.zeros_(neuron.recurrent.bias)
    torch.manual_seed(15)
    equal_spikes(model, (2, 2))


@pytest.mark.parametrize("weight", [-0.4, torch.linspace(-1, 1, 6)])
def test_one_to_one_recurrence_of_flat_neurons_is_a_diagonal(weight: Any) -> None:
    torch.manual_seed(16)
    neuron = snntorch.RLeaky(0.8, all_to_all=False, V=weight, **ZERO)
    graph = equal_spikes(nn.Sequential(nn.Linear(4, 6), neuron), (4,))
    assert graph.nodes["1_recurrent"].weight.shape == (6, 6)
    assert graph.metadata["weights"] == 24 + torch.as_tensor(weight).numel()
    assert graph.metadata["weights_stored"] == 24 + 36


def test_one_to_one_and_convolutional_recurrence_of_images() -> None:
    torch.manual_seed(17)
    one = snntorch.RLeaky(0.8, all_to_all=False, V=torch.rand(3, 4, 5) - 0.5, **ZERO)
    many = snntorch.RLeaky(0.6, conv2d_channels=2, kernel_size=3, threshold=0.4, **ZERO)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), one, nn.Conv2d(3, 2, 3, padding=1), many)
    graph = equal_spikes(model, (1, 6, 7))
    assert isinstance(graph.nodes["1_recurrent"], nir.Scale)
    assert isinstance(graph.nodes["3_recurrent"], nir.Conv2d)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_recurrent_synaptic_without_reset(alpha: float) -> None:
    torch.manual_seed(18)
    neuron = snntorch.RSynaptic(alpha, 0.8, linear_features=6, threshold=3.0, **KEPT)
    model = nn.Sequential(nn.Linear(4, 6), neuron)
    nn.init.normal_(model[0].weight)
    graph = equal_spikes(model, (4,), reset_none="threshold")
    entry = "1_membrane" if alpha < 1 else "1_synapse"
    assert ("1_recurrent", entry) in graph.edges and ("1", "1_recurrent") in graph.edges


class Mended(snntorch.RSynaptic):
    """RSynaptic as it is documented: with reset_delay=False it resets in the step of the spike."""

    def forward(self, input_: Tensor, spk: Any = None, syn: Any = None, mem: Any = None) -> Any:
        spk, syn, mem = (
            torch.zeros_like(input_) if s is None or s.shape != input_.shape else s
            for s in ((self.spk, self.syn, self.mem) if spk is None else (spk, syn, mem))
        )
        self.syn = self.alpha.clamp(0, 1) * syn + input_ + self.recurrent(spk)
        mem = self.beta.clamp(0, 1) * mem + self.syn
        self.spk = self.fire(mem)
        self.mem = mem * (1 - self.spk)
        return self.spk if self.init_hidden else (self.spk, self.syn, self.mem)


def test_recurrent_synaptic_of_a_snntorch_that_resets_at_once_is_one_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(19)
    neuron = snntorch.RSynaptic(EACH, 0.8, linear_features=6, threshold=2.0, **ZERO)
    model = nn.Sequential(nn.Linear(4, 6), neuron)
    count = len(snntorch.SpikingNeuron.instances)
    with pytest.raises(UnsupportedModuleError, match=r"module '1'.*cannot run with"):
        trace(model, torch.rand(1, 4))
    assert len(snntorch.SpikingNeuron.instances) == count
    monkeypatch.setattr(snntorch.RSynaptic, "forward", Mended.forward)
    assert kinds(equal_spikes(model, (4,))) == ["Affine", "CubaLIF", "Linear"]


def refused(kind: Any, *args: Any, **settings: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), kind(*args, **{**ZERO, **settings}))


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "subtract": (
        refused(snntorch.Synaptic, 0.5, 0.5, reset_mechanism="subtract", reset_delay=True),
        "use reset_mechanism='zero' and reset_delay=False",
    ),
    "delay": (refused(snntorch.RLeaky, 0.5, linear_features=6, reset_delay=True), "one later"),
    "none": (refused(snntorch.Synaptic, 0.5, 0.5, reset_mechanism="none"), "reset_none"),
    "alpha": (refused(snntorch.Synaptic, torch.rand(5), 0.5), "alpha does not fit"),
    "mixed": (refused(snntorch.Synaptic, torch.tensor([0.5] * 5 + [1.0]), 0.5), "alpha < 1"),
    "threshold": (refused(snntorch.Leaky, 0.5, threshold=-0.5), "threshold ≥ 0"),
    "no number": (refused(snntorch.Leaky, float("nan")), "'beta' holds values that are not finite"),
    "V": (refused(snntorch.RLeaky, 0.5, all_to_all=False, V=torch.rand(5)), "V does not fit"),
    "quantised": (refused(snntorch.Leaky, 0.5, state_quant=torch.round), "state_quant=False"),
    "alpha neuron": (nn.Sequential(nn.Linear(4, 6), snntorch.Alpha(0.9, 0.8)), "Alpha"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_neuron_outside_nir_is_refused_with_reason_and_remedy(name: str) -> None:
    model, words = REFUSED[name]
    with pytest.raises(UnsupportedModuleError) as caught:
        trace(model, torch.rand(2, 4))
    assert caught.value.where in ("module '1'", "module '1.recurrent'")
    assert words in caught.value.line() and caught.value.remedy


class Block(nn.Module):
    """x + f(x + g(x)), with a block of its own kind inside."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.outer = nn.Conv2d(2, 2, 3, padding=1)
        self.inner = nn.Conv2d(2, 2, (3, 1), padding=(1, 0))
        self.deeper = Block(depth - 1) if depth else nn.Identity()
        self.first = snntorch.Synaptic(0.3, 0.6, threshold=0.7, **ZERO)
        self.last = snntorch.Leaky(0.6, threshold=0.9, **ZERO)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.first(self.inner(x) + x)
        return self.last(x + self.deeper(self.outer(middle) + middle))


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_residual_additions_in_each_other(depth: int) -> None:
    torch.manual_seed(20)
    graph = equal_spikes(nn.Sequential(nn.Conv2d(1, 2, 3), Block(depth)), (1, 6, 5))
    assert graph.metadata["neurons"] == 2 * (depth + 1) * 2 * 4 * 3
