"""The weight by which a network makes logits of its pooled features."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokd.errors import UsageError
from neurokd.models import build_model
from neurokd.neurons import PerStep
from neurokd.training.linear_head import LinearHead


class _TwoLayers(nn.Module):
    linear_head = ("hidden", "classifier")

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.classifier = PerStep(nn.Linear(5, 4)), PerStep(nn.Linear(4, 3))


def test_the_classifier_of_each_form() -> None:
    dense, spiking = (build_model("convnet", spiking=spiking) for spiking in (False, True))
    assert LinearHead(dense).weight() is dense.classifier.weight
    assert LinearHead(spiking).weight() is spiking.classifier.layer.weight  # type: ignore[union-attr]
    foreign = build_model("cifar-resnet", spiking=False)
    assert LinearHead(foreign).weight() is foreign.linear.weight


def test_layers_with_nothing_between_are_one() -> None:
    torch.manual_seed(0)
    network = _TwoLayers()
    weight = LinearHead(network).weight()
    x, zero = torch.rand(2, 5), torch.zeros(2, 5)
    hidden, classifier = network.hidden.layer, network.classifier.layer
    torch.testing.assert_close(x @ weight.T, classifier(hidden(x)) - classifier(hidden(zero)))
    weight.sum().backward()
    assert hidden.weight.grad is not None and classifier.weight.grad is not None


@pytest.mark.parametrize(("hidden", "layers"), [(7, 2), (None, 1)])
def test_a_residual_student_has_one_or_two(hidden: int | None, layers: int) -> None:
    network = build_model("resnet20", spiking=True, hidden=hidden, classes=5)
    head = LinearHead(network)
    assert len(head.layers) == layers and head.weight().shape == (5, 64)


def test_what_is_not_linear_is_refused() -> None:
    network = nn.Module()
    with pytest.raises(UsageError, match="'classifier'"):
        LinearHead(network)
    network.classifier = nn.ReLU()
    with pytest.raises(UsageError, match="not a linear layer.*found ReLU"):
        LinearHead(network)
