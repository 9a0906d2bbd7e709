import snntorch
import torch

from neurokd.neurons import LIF
from neurokd.neurons.surrogate import triangle


def test_spike_train_by_hand() -> None:
    # β = 1/2, threshold 1: 0.75 | 0.375 + 0.625 = 1: no spike | 0.5 + 0.75 = 1.25: spike | 0 + 0.5
    current = torch.tensor([0.75, 0.625, 0.75, 0.5]).reshape(4, 1, 1)
    assert LIF(beta=0.5)(current).flatten().tolist() == [0, 0, 1, 0]


def test_equals_snntorch_step_by_step() -> None:
    current = torch.randn(20, 3, 7, generator=torch.Generator().manual_seed(0))
    cell = snntorch.Leaky(beta=0.75, threshold=0.6, reset_mechanism="zero", reset_delay=False)
    membrane, expected = torch.zeros(3, 7), []
    for x in current:
        spike, membrane = cell(x, membrane)
        expected.append(spike)
    found = LIF(beta=0.75, threshold=0.6)(current)
    assert torch.equal(found, torch.stack(expected))
    assert 0 < found.mean() < 1


def test_decay_lies_on_the_chips_grid() -> None:
    assert float(LIF(beta=0.9).cell.beta) * 4096 == 3686


def test_surrogate_is_a_triangle_of_width_one() -> None:
    distance = torch.tensor([-1.5, -0.5, 0.0, 0.25, 2.0], requires_grad=True)
    triangle()(distance).sum().backward()
    assert distance.grad is not None
    assert distance.grad.tolist() == [0.0, 0.5, 1.0, 0.75, 0.0]
