"""Cross-entropy with classes, with probabilities, and smoothed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from neurokd.neurons import Accumulator
from neurokd.training.classification import DenseClassification, SpikingClassification

IMAGES = torch.tensor([[[[math.log(3.0), 0.0]]]])  # (B, C, H, W) = (1, 1, 1, 2)
GENERATOR = torch.Generator()


def test_classes_and_probabilities_by_hand() -> None:
    # logits (ln 3, 0): p = (¾, ¼)
    objective = DenseClassification(nn.Flatten())
    logits, terms = objective(IMAGES, torch.tensor([0]), GENERATOR)
    assert logits.shape == (1, 2) and list(terms) == ["ce"]
    assert float(terms["ce"]) == pytest.approx(-math.log(0.75))
    _, terms = objective(IMAGES, torch.tensor([[0.25, 0.75]]), GENERATOR)
    expected = -0.25 * math.log(0.75) - 0.75 * math.log(0.25)
    assert float(terms["ce"]) == pytest.approx(expected)


@pytest.mark.parametrize("targets", [torch.tensor([0]), torch.tensor([[1.0, 0.0]])])
def test_label_smoothing_by_hand(targets: torch.Tensor) -> None:
    # σ = 0.2 over two classes: targets (0.9, 0.1)
    objective = DenseClassification(nn.Flatten(), label_smoothing=0.2)
    _, terms = objective(IMAGES, targets, GENERATOR)
    assert float(terms["ce"]) == pytest.approx(-0.9 * math.log(0.75) - 0.1 * math.log(0.25))


def test_a_spiking_network_is_classified_by_its_mean_current() -> None:
    student = nn.Sequential(nn.Flatten(2), Accumulator())
    objective = SpikingClassification(student, steps=3)
    logits, terms = objective(IMAGES, torch.tensor([0]), GENERATOR)
    torch.testing.assert_close(logits, IMAGES.flatten(1))
    assert float(terms["ce"]) == pytest.approx(-math.log(0.75))
