"""Sensitivity of answers to weights: two ways of taking it, one result."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurokd.continual.sensitivity import output_sensitivity
from neurokd.models import MLP
from neurokd.models.sdmlp import SDMLP


def _by_definition(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    total = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    for sample in x:
        network.zero_grad()
        (network(sample[None]) ** 2).sum().backward()
        for name, p in network.named_parameters():
            if p.grad is not None:
                total[name] += p.grad.abs() / len(x)
    return total


class _Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 2)
        self.classifier = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.conv(x.view(-1, 1, 3, 3)).tanh().flatten(1))
        return logits


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, 9)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(self.layer(x.flatten(1)).tanh())
        return logits


class _Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.view(-1, 3, 3)).mean(dim=1)
        return logits


@pytest.mark.parametrize(
    "network",
    [
        lambda: MLP(9, (5, 4), 3),
        lambda: SDMLP(9, (6,), 3, k=2, switch_samples=10),
        _Conv,
        _Twice,
        _Tokens,
    ],
)
def test_it_is_the_mean_size_of_the_gradients_of_single_samples(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = network().eval()
    x = torch.rand(7, 1, 3, 3)
    found = output_sensitivity(model, x.split(3))
    expected = _by_definition(model, x)
    assert found.keys() == expected.keys()
    assert max(float(value.max()) for value in found.values()) > 0
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7)


def test_a_frozen_weight_is_left_out() -> None:
    model = MLP(9, (5,), 3)
    model.classifier.get_parameter("bias").requires_grad_(False)
    found = output_sensitivity(model, [torch.rand(2, 9)])
    assert found.keys() == {"stages.0.0.weight", "stages.0.0.bias", "classifier.weight"}
