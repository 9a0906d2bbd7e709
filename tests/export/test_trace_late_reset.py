"""RSynaptic resets to zero a step after its spike: by hand, against torch, and what readers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor, nn

from neurokd.errors import UnsupportedModuleError, UnsupportedNodeError
from neurokd.export import lower, read_nir, simulate_nir, trace, write_nir
from neurokd.export.nir_profile import with_profile
from neurokd.neurons.surrogate import triangle

ZERO: dict[str, Any] = {"reset_mechanism": "zero", "spike_grad": triangle()}
HIDDEN: dict[str, Any] = {**ZERO, "init_hidden": True}
EACH = torch.linspace(0.1, 0.9, 6)


def test_by_hand() -> None:
    """α = β = ½, θ = 1.25, V = ¼: after the spike of t = 1 the input of t = 2 is lost to v."""
    cell = snntorch.RSynaptic(0.5, 0.5, threshold=1.25, all_to_all=False, V=0.25, **HIDDEN)
    graph = trace(nn.Sequential(cell), torch.zeros(1, 1))
    run = simulate_nir(graph, np.array([1, 1, 0, 0, 0, 0, 4, 4.0])[:, None, None])
    # i ← i / 2 + x + s(t − 1) / 4
    current = [1, 1.5, 1, 0.5, 0.25, 0.125, 4.0625, 6.28125]
    np.testing.assert_allclose(run.records["0_synapse"].ravel(), current, rtol=1e-6)
    # v ← (v / 2 + i) (1 − s(t − 1)): 1, 2, 0, 0.5, 0.5, 0.375, 4.25, 0
    np.testing.assert_array_equal(run.output.ravel(), [0, 1, 0, 0, 0, 0, 1, 0])
    # a reset in the step of the spike gives 1, 2 | 1, 1, 0.75, 0.5, 4.3125 | 6.28125
    assert trace(nn.Sequential(cell), torch.zeros(1, 1)).metadata["reset"] == "zero"


CELLS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "all to all": (0.5, 0.8, {"linear_features": 6}),
    "for each": (EACH, EACH.flip(0), {"linear_features": 6, "threshold": torch.rand(6) + 0.2}),
    "one to one": (0.3, 0.9, {"all_to_all": False, "V": EACH - 0.5}),
    "one for all": (0.3, 0.9, {"all_to_all": False, "V": -0.4}),
    "no leak": (EACH, 1.0, {"linear_features": 6, "threshold": 2.0}),
    "synapse keeps": (1.0, EACH, {"linear_features": 6, "threshold": 3.0}),
    "no synapse": (0.0, 0.7, {"linear_features": 6}),
}


def check_equal(model: nn.Module, shape: tuple[int, ...], folder: Path) -> nir.NIRGraph:
    """The graph, after its spikes were found equal to the module's in both encodings."""
    model = model.double()
    x = 2 * torch.rand(40, 2, *shape, dtype=torch.double) - 0.5
    graph = read_nir(write_nir(trace(model, x[0]), folder / "late.nir"))
    for module in model.modules():
        if isinstance(module, snntorch.SpikingNeuron):
            module.reset_mem()
    with torch.no_grad():
        expected = np.stack([model(step).numpy() for step in x])
    assert 0.02 < expected.mean() < 0.98
    for profile in ("snntorch", "unit-r"):
        run = simulate_nir(with_profile(graph, profile), x.numpy())
        np.testing.assert_array_equal(run.output, expected)
    return graph


@pytest.mark.parametrize("name", CELLS)
def test_it_is_torch_spike_for_spike(name: str, tmp_path: Path) -> None:
    torch.manual_seed(21)
    alpha, beta, settings = CELLS[name]
    cell = snntorch.RSynaptic(alpha, beta, **settings, **HIDDEN)
    graph = check_equal(nn.Sequential(nn.Linear(4, 6), cell), (4,), tmp_path)
    assert graph.metadata["neurons"] == 6 and graph.metadata["reset"] == "zero"
    stored = sum(
        np.size(getattr(n, "weight", getattr(n, "scale", ()))) for n in graph.nodes.values()
    )
    assert graph.metadata["weights_stored"] == stored
    expected = ("I" if name == "synapse keeps" else "LI", "IF" if name == "no leak" else "LIF")
    assert isinstance(graph.nodes["1_synapse"], getattr(nir, expected[0]))
    assert isinstance(graph.nodes["1_membrane"], getattr(nir, expected[1]))


def test_it_is_torch_on_images_between_other_layers(tmp_path: Path) -> None:
    torch.manual_seed(22)
    one = snntorch.RSynaptic(
        0.4, 0.6, all_to_all=False, V=torch.rand(3, 6, 6) - 0.5, threshold=0.3, **HIDDEN
    )
    many = snntorch.RSynaptic(0.3, 0.7, conv2d_channels=2, kernel_size=3, threshold=0.1, **HIDDEN)
    layers = (nn.Conv2d(1, 3, 3), one, nn.AvgPool2d(2), nn.Conv2d(3, 2, 3, padding=1), many)
    graph = check_equal(nn.Sequential(*layers), (1, 8, 8), tmp_path)
    assert graph.metadata["neurons"] == 3 * 6 * 6 + 2 * 3 * 3


class Explicit(nn.Module):
    """The caller keeps the state."""

    def __init__(self, reset_delay: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 6)
        self.cell = snntorch.RSynaptic(
            0.5, EACH, linear_features=6, reset_delay=reset_delay, **ZERO
        )

    def forward(self, x: Tensor, spk: Tensor, syn: Tensor, mem: Tensor) -> Any:
        return self.cell(self.fc(x), spk, syn, mem)


def test_reset_delay_changes_nothing() -> None:
    graphs, outputs = [], []
    x = 2 * torch.rand(30, 2, 4, dtype=torch.double)
    for reset_delay in (True, False):
        torch.manual_seed(23)
        model = Explicit(reset_delay).double()
        graphs.append(trace(model, x[0]))
        spk, syn, mem = torch.zeros(3, 2, 6, dtype=torch.double)
        recorded = []
        with torch.no_grad():
            for step in x:
                spk, syn, mem = model(step, spk, syn, mem)
                recorded.append(spk.numpy())
        outputs.append(np.stack(recorded))
    np.testing.assert_array_equal(*outputs)
    assert 0.05 < outputs[0].mean() < 0.95
    for graph in graphs:
        np.testing.assert_array_equal(simulate_nir(graph, x.numpy()).output, outputs[0])


def test_it_is_exact_far_beyond_any_membrane_of_use() -> None:
    """Integer membranes of up to 10¹⁵, of both signs, which float64 holds exactly."""
    cell = snntorch.RSynaptic(0.0, 1.0, threshold=5e14, all_to_all=False, V=0.0, **HIDDEN)
    model = nn.Sequential(cell).double()
    x = torch.tensor([6e14, 6e14, -1e15, 6e14, 8e14, 9e14, 9e14], dtype=torch.double)[:, None, None]
    graph = trace(model, x[0])
    with torch.no_grad():
        expected = torch.stack([model(step) for step in x]).numpy()
    assert expected.ravel().tolist() == [1, 0, 0, 0, 0, 1, 0]
    np.testing.assert_array_equal(simulate_nir(graph, x.numpy()).output, expected)


def test_a_chip_refuses_it_by_name() -> None:
    cell = snntorch.RSynaptic(0.5, 0.8, linear_features=6, **HIDDEN)
    graph = trace(nn.Sequential(nn.Linear(4, 6), cell), torch.rand(1, 4))
    with pytest.raises(UnsupportedNodeError) as caught:
        lower(graph, calibration=np.random.default_rng(0).random((2, 4)), steps=4)
    assert caught.value.where == "node '1_synapse'" and caught.value.remedy


def test_what_snntorch_itself_cannot_run_has_one_refusal() -> None:
    """Whatever else has to change, reset_delay comes first; then nothing leads back to it."""
    for mechanism in ("subtract", "none", "zero"):
        cell = snntorch.RSynaptic(
            0.5, 0.8, linear_features=6, init_hidden=True,
            reset_mechanism=mechanism, reset_delay=False,
        )  # fmt: skip
        with pytest.raises(TypeError):
            cell(torch.rand(1, 6))
        with pytest.raises(UnsupportedModuleError, match=r"module '1'.*cannot run") as caught:
            trace(nn.Sequential(nn.Linear(4, 6), cell), torch.rand(1, 4))
        assert "reset_delay=True" in caught.value.remedy
    cell = snntorch.RSynaptic(0.5, 0.8, linear_features=6, init_hidden=True)
    with pytest.raises(UnsupportedModuleError, match="subtract") as caught:
        trace(nn.Sequential(nn.Linear(4, 6), cell), torch.rand(1, 4))
    assert "zero" in caught.value.remedy and "reset_delay" not in caught.value.remedy
