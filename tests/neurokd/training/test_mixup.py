"""Mixup: weights and partners are the same for images and classes."""

from __future__ import annotations

import pytest
import torch

from neurokd.training.mixup import mixed


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_images_and_classes_are_mixed_alike() -> None:
    classes = torch.arange(6)
    images = torch.eye(6).view(6, 1, 2, 3)  # so that an image says its own class
    varied, probabilities = mixed(images, classes, 7, 0.5, _generator())
    assert varied.shape == images.shape and probabilities.shape == (6, 7)
    assert torch.equal(probabilities[:, :6], varied.view(6, 6))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6))
    own = probabilities[classes, classes]
    moved = own < 1
    assert moved.any() and len(own[moved].unique()) == 1  # one λ for the batch


def test_event_frames_are_mixed_too() -> None:
    frames = torch.ones(4, 3, 2, 5, 5)
    varied, _ = mixed(frames, torch.tensor([0, 1, 0, 1]), 2, 0.2, _generator())
    torch.testing.assert_close(varied, frames)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_weight_is_of_a_beta_distribution(alpha: float) -> None:
    """Mean ½ and variance 1 / (4 (2 α + 1))."""
    generator = _generator()
    images, classes = torch.tensor([[1.0], [0.0]]), torch.tensor([0, 1])
    weights = []
    while len(weights) < 3000:
        varied, _ = mixed(images, classes, 2, alpha, generator)
        weights.append(float(varied[0]))
    values = torch.tensor(weights)
    changed = values[values < 1]  # half of the permutations of two leave them where they are
    variance = 1 / (4 * (2 * alpha + 1))
    assert changed.mean() == pytest.approx(0.5, abs=4 * (variance / len(changed)) ** 0.5)
    assert changed.var() == pytest.approx(variance, rel=0.12)


def test_the_generator_is_all_that_is_drawn_from() -> None:
    images, classes = torch.rand(8, 1, 3, 3), torch.arange(8)
    before, generator = torch.get_rng_state(), _generator()
    first = mixed(images, classes, 8, 0.4, generator)[0]
    saved = generator.get_state()
    second = mixed(images, classes, 8, 0.4, generator)[0]
    generator.set_state(saved)
    assert torch.equal(mixed(images, classes, 8, 0.4, generator)[0], second)
    assert torch.equal(mixed(images, classes, 8, 0.4, _generator())[0], first)
    assert torch.equal(torch.get_rng_state(), before)
