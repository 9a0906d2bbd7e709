"""LwF: what is said about past classes is kept, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.config.continual import LwFConfig
from neurokd.continual.lwf import LwF
from neurokd.continual.method import Batch
from neurokd.data import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError


def _task(*classes: int) -> Task:
    data = LabelledData("tiny", np.ones((len(classes), 4), np.float32), np.array(classes))
    return Task(0, classes, data, data)


def _line(*bias: float) -> nn.Linear:
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor(bias))
    return layer


def _batch(network: nn.Module) -> Batch:
    x = torch.ones(3, 4)
    return Batch(x, torch.zeros(3, dtype=torch.int64), network(x), ())


def test_the_loss_is_over_past_classes_only() -> None:
    method, network = LwF(LwFConfig(weight=3.0, temperature=2.0)), _line(2.0, 5.0, 0.0, 1.0)
    assert method.terms(network, _batch(network)) == {}
    method.end_task(network, _task(2, 0), torch.Generator())
    assert method.past.tolist() == [0, 2]
    with torch.no_grad():
        network.bias.copy_(torch.tensor([0.0, -7.0, 0.0, 9.0]))
    # of classes 0 and 2: teacher softmax([2, 0]/2), student ½ and ½
    p = 1 / (1 + np.exp(-1))
    expected = 3 * 4 * (p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p)))
    loss = method.terms(network, _batch(network))["lwf"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert network.bias.grad is not None
    assert network.bias.grad[[1, 3]].tolist() == [0.0, 0.0]
    # ∂/∂z = weight · τ (p_S − p_T)
    assert network.bias.grad[0].item() == pytest.approx(3 * 2 * (0.5 - p), rel=1e-5)


def test_the_teacher_is_the_network_at_the_end_of_the_last_task() -> None:
    method, network = LwF(), _line(0.0, 1.0, 2.0, 3.0)
    method.end_task(network, _task(0, 1), torch.Generator())
    with torch.no_grad():
        network.bias.copy_(torch.tensor([3.0, 1.0, 2.0, 0.0]))
    method.end_task(network, _task(2, 3), torch.Generator())
    assert method.past.tolist() == [0, 1, 2, 3]
    assert method.terms(network, _batch(network))["lwf"].item() == pytest.approx(0, abs=1e-7)


def test_its_state_comes_back_and_an_incomplete_one_is_refused() -> None:
    method, again, network = LwF(), LwF(), _line(2.0, 5.0, 0.0, 1.0)
    method.end_task(network, _task(0, 1), torch.Generator())
    with torch.no_grad():
        network.bias.zero_()
    again.load_state(network, method.state())
    value = method.terms(network, _batch(network))["lwf"]
    assert torch.equal(again.terms(network, _batch(network))["lwf"], value)
    with pytest.raises(FileFormatError, match="past classes"):
        again.load_state(network, {k: v for k, v in method.state().items() if k != "past"})
    with pytest.raises(FileFormatError, match="do not fit"):
        again.load_state(network, {"past": torch.tensor([0])})
    again.load_state(network, {})
    assert again.state() == {}


def test_weight_zero_adds_nothing() -> None:
    method, network = LwF(LwFConfig(weight=0)), _line(2.0, 5.0, 0.0, 1.0)
    method.end_task(network, _task(0, 1), torch.Generator())
    assert method.terms(network, _batch(network)) == {}
