"""The float network's answers enter the loss of the spiking student."""

import pytest
import torch
from torch import nn

from neurokd.continual.method import Batch
from neurokd.continual.spiking.float_teacher import FloatTeacher


def test_the_loss_is_the_divergence_of_the_softened_answers() -> None:
    net = nn.Linear(2, 2, bias=False)
    nn.init.eye_(net.weight)
    method = FloatTeacher(net, 0.75, 2.0)
    nn.init.zeros_(net.weight)  # what happens to the network later does not reach the teacher
    x = torch.tensor([[2.0, 0.0]])
    batch = Batch(x, torch.tensor([0]), torch.zeros(1, 2), ())
    p = 1 / (1 + torch.tensor(-1.0).exp())  # softmax of (2, 0) / 2
    kl = p * (2 * p).log() + (1 - p) * (2 * (1 - p)).log()
    terms = method.terms(net, batch)
    assert float(terms["float_logits"]) == pytest.approx(0.75 * 4 * float(kl), rel=1e-5)
    assert method.ce_weight == 0.25
    assert FloatTeacher(net, 0.0, 2.0).terms(net, batch) == {}
