from __future__ import annotations

import copy
import pickle

import pytest
import torch

from neurokd.neurons.surrogate import Surrogate, atan, fast_sigmoid, sigmoid, triangle


def test_a_triangle_of_width_one() -> None:
    distance = torch.tensor([-1.5, -0.5, 0.0, 0.25, 2.0], requires_grad=True)
    spikes = triangle()(distance)
    spikes.sum().backward()
    assert spikes.tolist() == [0, 0, 0, 1, 1]
    assert distance.grad is not None
    assert distance.grad.tolist() == [0.0, 0.5, 1.0, 0.75, 0.0]


@pytest.mark.parametrize(
    ("surrogate", "expected"),
    [
        (triangle(2.0), 1.0),  # 2 − 4 · 1/4
        (atan(2.0), 1 / (1 + (torch.pi / 4) ** 2)),
        (fast_sigmoid(4.0), 1 / 4),  # 1 / (1 + 1)²
        (sigmoid(4.0), 4 * 0.19661193),  # σ(1) σ(−1)
    ],
)
def test_derivatives_by_hand(surrogate: Surrogate, expected: float) -> None:
    for distance in (-0.25, 0.25):
        given = torch.tensor([distance], dtype=torch.float64)
        assert surrogate.derivative(given).item() == pytest.approx(expected, rel=1e-7)
        assert given.item() == distance  # left as it was


def test_no_distance_overflows() -> None:
    far = torch.tensor([-1e30, 1e30])
    for surrogate in (triangle(), atan(), fast_sigmoid(), sigmoid()):
        assert surrogate.derivative(far).tolist() == [0.0, 0.0]


def test_it_is_copied_and_sent_as_a_value() -> None:
    assert copy.deepcopy(atan()) == atan() == pickle.loads(pickle.dumps(atan()))
