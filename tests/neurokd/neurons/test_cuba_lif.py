from __future__ import annotations

import torch

from neurokd.neurons import CubaLIF


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
