from __future__ import annotations

import numpy as np
import torch
from torch import nn

from neurokd.export import simulate_nir, trace
from neurokd.neurons import CubaLIF, PerStep


def test_spike_train_by_hand() -> None:
    # i: 0.5 | 0.5 | 0.25 | 0.125; v: 0.5 | 0.75 | 0.625 | … never; threshold 0.7: a spike at 2
    current = torch.tensor([0.5, 0.25, 0.0, 0.0]).reshape(4, 1, 1)
    assert CubaLIF(0.5, 0.5, 0.7)(current).flatten().tolist() == [0, 1, 0, 0]


def test_decays_lie_on_the_chips_grid_and_learn_if_asked_to() -> None:
    neurons = CubaLIF(0.9, torch.tensor([0.3, 0.7]), learn_alpha=True, learn_threshold=True)
    assert float(neurons.cell.alpha.detach()) * 4096 == 3686
    assert (neurons.cell.beta * 4096).tolist() == [1229, 2867]
    assert [name for name, _ in neurons.named_parameters()] == ["cell.threshold", "cell.alpha"]
    neurons(torch.rand(5, 3, 2) + 0.5).sum().backward()
    assert all(float(p.grad) != 0 for p in neurons.parameters() if p.grad is not None)


def test_its_trace_gives_the_same_spikes() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(PerStep(nn.Linear(6, 5)), CubaLIF(0.5, 0.75, 0.3)).double().eval()
    x = torch.rand(9, 4, 6, dtype=torch.float64)
    graph = trace(module, x[0], steps=9)
    assert [type(node).__name__ for node in graph.nodes.values()].count("CubaLIF") == 1
    with torch.no_grad():
        spikes = module(x)
    assert spikes.sum() > 0
    np.testing.assert_array_equal(simulate_nir(graph, x.numpy()).output, spikes.numpy())
