"""SDMLP: its constraints, its geometry, and one forward pass by hand."""

from __future__ import annotations

import pytest
import torch

from neurokd.errors import UsageError
from neurokd.models.sdmlp import SDMLP, normalised


def network(**options: object) -> SDMLP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SDMLP(12, (20, 15), 4, k=3, **options)  # type: ignore[arg-type]


def test_weights_begin_positive_and_rows_of_the_hidden_layers_have_unit_length() -> None:
    made = network()
    for parameter in made.parameters():
        weights = parameter.detach()
        assert float(weights.min()) >= 0
        assert 0.3 < float((weights == 0).float().mean()) < 0.7  # half of them were negative
    for layer in made.hidden:
        length = layer.get_parameter("weight").detach().norm(dim=1)
        torch.testing.assert_close(length, torch.ones_like(length))
    assert not torch.allclose(made.classifier.weight.detach().norm(dim=1), torch.ones(4))


def test_constraints_hold_again_after_a_step_that_breaks_them() -> None:
    made = network()
    weight = made.hidden[0].get_parameter("weight")
    with torch.no_grad():
        weight[0] = 0
        weight[0, :2] = torch.tensor([3.0, 4.0])
        weight[1] = -1
        made.classifier.weight[0, 0] = -1
        made.classifier.weight[0, 1] = 7
    made.constrain()
    torch.testing.assert_close(weight[0, :3], torch.tensor([0.6, 0.8, 0.0]))
    assert weight[1].tolist() == [0.0] * 12  # nothing is left to be of unit length
    assert made.classifier.weight[0, :2].tolist() == [0.0, 7.0]


def test_inputs_are_their_positive_part_of_unit_length() -> None:
    x = torch.tensor([[3.0, -1.0, 4.0], [-1.0, 0.0, -2.0]])
    torch.testing.assert_close(normalised(x), torch.tensor([[0.6, 0.0, 0.8], [0.0, 0.0, 0.0]]))


def test_a_forward_pass_by_hand() -> None:
    made = SDMLP(2, (3,), 2, k=1, switch_samples=10)
    with torch.no_grad():
        made.hidden[0].get_parameter("weight").copy_(torch.tensor([[1, 0], [0, 1], [0.6, 0.8]]))
        made.classifier.weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 0.0]]))
    winners = made.winners[0]
    winners.get_buffer("counts").fill_(10)  # g = 1
    # x = (0.6, 0.8): a = (0.6, 0.8, 1), I = 0.8, h = (0, 0, 0.2)
    logits = made.eval()(torch.tensor([[[3.0], [4.0]]]))
    torch.testing.assert_close(logits, torch.tensor([[0.6, 0.0]]))
    winners.get_buffer("counts").fill_(5)  # g = 0: h = a
    logits = made(torch.tensor([[[3.0], [4.0]]]))
    torch.testing.assert_close(logits, torch.tensor([[0.6 + 1.6 + 3.0, 6.0 + 16.0]]))


def test_every_hidden_layer_competes_and_is_given_a_normalised_input() -> None:
    made = network(switch_samples=1).train()
    for layer in made.winners:
        layer.get_buffer("counts").fill_(1)
    active: list[int] = []
    lengths: list[float] = []
    for layer, winners in zip(made.hidden, made.winners, strict=True):
        layer.register_forward_hook(
            lambda m, given, out: lengths.append(float(given[0].detach().norm()))
        )
        winners.register_forward_hook(lambda m, given, out: active.append(int((out > 0).sum())))
    made(torch.rand(1, 12))
    assert all(1 <= count <= 3 for count in active)
    assert lengths == pytest.approx([1.0, 1.0])
    assert [int(layer.get_buffer("seen")) for layer in made.winners] == [1, 1]


def test_the_state_holds_weights_and_counters() -> None:
    assert sorted(SDMLP(3, (5,), 2, k=1).state_dict()) == [
        "classifier.weight",
        "hidden.0.weight",
        "winners.0.counts",
        "winners.0.seen",
    ]


def test_a_geometry_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError):
        SDMLP(0, (5,), 2, k=1)
    with pytest.raises(UsageError):
        SDMLP(3, (), 2, k=1)
    with pytest.raises(UsageError, match="winners"):
        SDMLP(3, (5,), 2, k=5)
