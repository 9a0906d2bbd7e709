"""Top-K by hand: gains, ties, too few positives, counters, and the inhibitions that decay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neurokd.errors import UsageError
from neurokd.models.topk import Inhibition, TopK

A = torch.tensor([[5.0, 3.0, 2.0, 1.0, -4.0]])
"""With k = 2 the inhibition is the third largest: I = 2."""


def layer(count: int, inhibition: Inhibition = "gaba", k: int = 2) -> TopK:
    """Five neurons and N = 100, which have been active ``count`` times: g = −1 + 2 count / 100."""
    made = TopK(5, k, switch_samples=100, inhibition=inhibition)
    made.counts.fill_(count)
    return made


@pytest.mark.parametrize(
    ("count", "gain", "expected"),
    [
        (0, -1.0, [7.0, 5.0, 4.0, 3.0, 2.0]),  # each a⁺ + 2, the negative one too
        (25, -0.5, [6.0, 4.0, 3.0, 2.0, 1.0]),
        (50, 0.0, [5.0, 3.0, 2.0, 1.0, 0.0]),  # plain ReLU
        (75, 0.5, [4.0, 2.0, 1.0, 0.0, 0.0]),
        (100, 1.0, [3.0, 1.0, 0.0, 0.0, 0.0]),  # k winners
        (1000, 1.0, [3.0, 1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_the_gain_of_the_inhibition_goes_from_minus_one_to_one(
    count: int, gain: float, expected: list[float]
) -> None:
    made = layer(count).eval()
    assert made.gains().tolist() == [gain] * 5
    assert made(A).tolist() == [expected]


def test_every_neuron_has_a_gain_of_its_own() -> None:
    made = layer(100).eval()
    made.counts[3] = 0
    assert made(A).tolist() == [[3.0, 1.0, 0.0, 3.0, 0.0]]


def test_without_k_plus_one_positive_activations_nothing_is_subtracted() -> None:
    a = torch.tensor([[4.0, 3.0, -1.0, -2.0, 0.0], [-1.0, -1.0, -1.0, -1.0, -1.0]])
    assert layer(100).eval()(a).tolist() == [[4.0, 3.0, 0.0, 0.0, 0.0], [0.0] * 5]


def test_who_is_level_with_the_inhibition_does_not_win() -> None:
    a = torch.tensor([[4.0, 2.0, 2.0, 2.0, 1.0]])
    assert layer(100).eval()(a).tolist() == [[2.0, 0.0, 0.0, 0.0, 0.0]]


def test_counters_count_active_samples_in_training_and_stand_still_in_evaluation() -> None:
    made = layer(100)
    made.train()(A.repeat(3, 1))
    assert made.counts.tolist() == [103, 103, 100, 100, 100]
    assert int(made.seen) == 3
    made.eval()(A)
    assert made.counts.tolist() == [103, 103, 100, 100, 100]
    assert int(made.seen) == 3
    excited = layer(0)
    excited.train()(A)
    assert excited.counts.tolist() == [1] * 5  # by excitation the negative one is active, too


def test_counters_are_saved_with_the_weights() -> None:
    made = layer(0)
    made.train()(A)
    other = layer(7)
    other.load_state_dict(made.state_dict())
    assert other.counts.tolist() == [1] * 5
    assert int(other.seen) == 1


def test_the_gradient_reaches_winners_through_their_own_activation_alone() -> None:
    a = A.clone().requires_grad_()
    layer(100)(a).sum().backward()
    assert a.grad is not None
    assert a.grad.tolist() == [[1.0, 1.0, 0.0, 0.0, 0.0]]  # none to the third, which is I
    a = A.clone().requires_grad_()
    layer(0)(a).sum().backward()
    assert a.grad is not None
    assert a.grad.tolist() == [[1.0, 1.0, 1.0, 1.0, 0.0]]  # max(a, 0) is flat below 0


def at(samples: int, inhibition: Inhibition) -> Tensor:
    made = layer(0, inhibition).eval()
    made.seen.fill_(samples)
    out: Tensor = made(A)
    return out


def test_a_mask_lets_the_winners_pass_as_they_are() -> None:
    assert at(0, "mask").tolist() == [[5.0, 3.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("samples", "mask", "subtract"),
    [
        (0, [5.0, 3.0, 2.0, 1.0, 0.0], [5.0, 3.0, 2.0, 1.0, 0.0]),  # k = 5: all
        (34, [5.0, 3.0, 2.0, 1.0, 0.0], [5.0, 3.0, 2.0, 1.0, 0.0]),  # k = 4, I = 0
        (67, [5.0, 3.0, 2.0, 0.0, 0.0], [4.0, 2.0, 1.0, 0.0, 0.0]),  # k = 3, I = 1
        (100, [5.0, 3.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0, 0.0]),
        (500, [5.0, 3.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_k_decays_with_the_samples(samples: int, mask: list[float], subtract: list[float]) -> None:
    assert at(samples, "mask-decay").tolist() == [mask]
    assert at(samples, "subtract-decay").tolist() == [subtract]


def test_k_needs_neurons_that_lose() -> None:
    for k in (0, 5, 6):
        with pytest.raises(UsageError, match="winners"):
            TopK(5, k)
    with pytest.raises(UsageError, match="switch_samples"):
        TopK(5, 2, switch_samples=0)
    with pytest.raises(UsageError, match="inhibition"):
        TopK(5, 2, inhibition="gamma")  # type: ignore[arg-type]
