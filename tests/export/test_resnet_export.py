"""A residual student through NIR: every neuron's spikes, every weight, and the file."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurokd.errors import UnsupportedModuleError
from neurokd.export import read_nir, simulate_nir, trace, write_nir
from neurokd.models import ResNet, build_model
from neurokd.neurons import LIF

STEPS = 4
MARGIN = 1e-6
"""Folding rounds in another order: no membrane may come so close to its threshold."""


def student(hidden: int | None) -> ResNet:
    torch.manual_seed(3)
    model = build_model("resnet20", spiking=True, width=1, hidden=hidden)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.05, 0.2)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    assert isinstance(model, ResNet)
    return model.double().eval()


def run_torch(model: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, np.ndarray], float]:
    """Readout, spikes of every LIF by path, and the smallest |v − threshold| there was."""
    spikes: dict[str, np.ndarray] = {}
    margin = float("inf")

    def keep(path: str, cell: nn.Module, currents: Tensor, fired: Tensor) -> None:
        nonlocal margin
        v = torch.zeros_like(currents[0])
        for current, spike in zip(currents, fired, strict=True):
            v = cell.beta * v + current
            margin = min(margin, float((v - cell.threshold).abs().min()))
            v = v * (1 - spike)
        spikes[path] = fired.numpy()

    hooks = [
        module.register_forward_hook(
            lambda m, inputs, fired, path=path: keep(path, m.cell, inputs[0], fired)
        )
        for path, module in model.named_modules()
        if isinstance(module, LIF)
    ]
    with torch.no_grad():
        output = model(x)
    for hook in hooks:
        hook.remove()
    return output, spikes, margin


@pytest.mark.parametrize("hidden", [256, None])
def test_resnet20_is_equal_spike_for_spike(tmp_path: Path, hidden: int | None) -> None:
    model = student(hidden)
    sample = torch.rand(2, 3, 8, 8, dtype=torch.double)
    expected, spikes, margin = run_torch(model, sample.expand(STEPS, *sample.shape))
    assert margin > MARGIN
    graph = trace(model, sample, steps=STEPS)
    x = np.broadcast_to(sample.numpy(), (STEPS, *sample.shape))
    run = simulate_nir(graph, x)
    neurons = [name for name, node in graph.nodes.items() if isinstance(node, nir.LIF)]
    assert len(neurons) == len(spikes) == 1 + 2 * 9
    for path, fired in spikes.items():
        np.testing.assert_array_equal(run.records[path.replace(".", "_")], fired, err_msg=path)
    rates = [fired.mean() for fired in spikes.values()]
    assert 0.02 < min(rates) and max(rates) < 0.9
    np.testing.assert_allclose(run.output, expected.numpy(), atol=1e-9)
    assert np.ptp(run.output[-1]) > 0.1

    again = simulate_nir(read_nir(write_nir(graph, tmp_path / "resnet20.nir")), x)
    np.testing.assert_array_equal(again.output, run.output)


def test_every_weight_bias_and_neuron_is_there() -> None:
    model = student(256)
    graph = trace(model, torch.rand(1, 3, 8, 8, dtype=torch.double), steps=STEPS)
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    nodes = [n for n in graph.nodes.values() if isinstance(n, (nir.Conv2d, nir.Affine, nir.Linear))]
    assert len(nodes) == len(layers) == 19 + 2 + 2  # 3×3, shortcuts, head
    assert sum(n.weight.size for n in nodes) == sum(m.weight.numel() for m in layers)
    # a convolution has no bias of its own: normalisation gives it one a channel
    biases = sum(m.out_channels if isinstance(m, nn.Conv2d) else m.out_features for m in layers)
    assert sum(n.bias.size for n in nodes) == biases
    sizes = {16 * 64: 7, 32 * 16: 6, 64 * 4: 6}
    found = [n.v_threshold.size for n in graph.nodes.values() if isinstance(n, nir.LIF)]
    assert {size: found.count(size) for size in set(found)} == sizes
    # each block adds its shortcut: an identity reaches the neurons as an edge of its own
    arriving = [sum(target == name for _, target in graph.edges) for name in graph.nodes]
    assert arriving.count(2) == 9 and max(arriving) == 2


def test_a_last_activation_that_does_not_spike_is_refused_by_name() -> None:
    model = build_model("resnet20", spiking=True, last_activation="relu").eval()
    with pytest.raises(UnsupportedModuleError, match="ReLU") as caught:
        trace(model, torch.rand(1, 3, 8, 8))
    assert "stages.2.2.activation" in caught.value.where
