"""The quadratic pull towards past weights, against the sum that it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokd.continual.anchor import Anchor
from neurokd.errors import FileFormatError


def _weight(*values: float) -> nn.Linear:
    layer = nn.Linear(len(values), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values]))
    return layer


def test_two_added_penalties_by_hand() -> None:
    anchor = Anchor()
    anchor.add(_weight(0.0, 1.0), {"weight": torch.tensor([[1.0, 2.0]])})
    anchor.add(_weight(4.0, 1.0), {"weight": torch.tensor([[3.0, 0.0]])})
    # 1·(1−0)² + 2·(2−1)² + 3·(1−4)² + 0 = 1 + 2 + 27
    assert anchor.penalty(_weight(1.0, 2.0)).item() == pytest.approx(30.0, rel=1e-6)
    # both about (0·1 + 4·3)/4 = 3 and 1: 4·(3−3)² … the offset 1·3·(4−0)²/4 = 12 is what remains
    assert anchor.penalty(_weight(3.0, 1.0)).item() == pytest.approx(12.0, rel=1e-6)


def test_many_tasks_are_the_sum_over_tasks_in_value_and_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    anchor, kept = Anchor(), []
    for _ in range(20):
        network = nn.Linear(5, 3)
        importance = {}
        for name, p in network.named_parameters():
            p.data = 1 + 1e-3 * torch.randn(p.shape, generator=generator)  # where a sum cancels
            importance[name] = torch.rand(p.shape, generator=generator)
            importance[name][..., 0] = 0.0
        anchor.add(network, importance)
        kept.append((importance, {n: p.detach().double() for n, p in network.named_parameters()}))
    network = nn.Linear(5, 3)
    for p in network.parameters():
        p.data = 1 + 1e-3 * torch.randn(p.shape, generator=generator)
    value = anchor.penalty(network)
    value.backward()
    total = torch.zeros((), dtype=torch.float64)
    for name, p in network.named_parameters():
        own = p.detach().double().requires_grad_()
        part = sum((i[name].double() * (own - c[name]) ** 2).sum() for i, c in kept)
        assert isinstance(part, torch.Tensor)
        part.backward()
        total += part.detach()
        torch.testing.assert_close(p.grad, own.grad.float(), rtol=2e-3, atol=1e-6)
    assert value.item() == pytest.approx(total.item(), rel=1e-3)


def test_a_moved_anchor_pulls_to_the_last_weights_with_all_importances() -> None:
    anchor = Anchor()
    anchor.move(_weight(0.0, 0.0), {"weight": torch.tensor([[1.0, 2.0]])})
    anchor.move(_weight(1.0, 1.0), {"weight": torch.tensor([[1.0, 0.5]])})
    # 2·(3−1)² + 2.5·(0−1)²
    assert anchor.penalty(_weight(3.0, 0.0)).item() == pytest.approx(10.5)


def test_no_importance_falls_below_zero() -> None:
    anchor = Anchor()
    anchor.move(_weight(0.0, 0.0), {"weight": torch.tensor([[1.0, -2.0]])})
    anchor.move(_weight(0.0, 0.0), {"weight": torch.tensor([[-0.25, 1.0]])})
    assert anchor.importance["weight"].tolist() == [[0.75, 1.0]]


def test_what_it_remembers_does_not_follow_the_network() -> None:
    anchor, network = Anchor(), _weight(1.0, 1.0)
    anchor.move(network, {"weight": torch.ones(1, 2)})
    anchor.add(network, {"weight": torch.ones(1, 2)})
    with torch.no_grad():
        network.weight += 1
    assert anchor.penalty(network).item() == pytest.approx(4.0)


def test_a_frozen_weight_has_no_part_in_it() -> None:
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    anchor = Anchor()
    anchor.add(network, {"weight": torch.ones(1, 2)})
    assert anchor.importance.keys() == {"weight"}


def test_its_state_comes_back_and_an_incomplete_one_is_refused() -> None:
    anchor, again = Anchor(), Anchor()
    anchor.add(_weight(0.0, 1.0), {"weight": torch.tensor([[1.0, 2.0]])})
    anchor.add(_weight(4.0, 1.0), {"weight": torch.tensor([[3.0, 0.0]])})
    again.load_state(anchor.state())
    network = _weight(0.3, 0.7)
    assert torch.equal(again.penalty(network), anchor.penalty(network))
    for key in anchor.state():
        with pytest.raises(FileFormatError, match="not complete"):
            Anchor().load_state({k: v for k, v in anchor.state().items() if k != key})
    again.load_state({})
    assert not again
