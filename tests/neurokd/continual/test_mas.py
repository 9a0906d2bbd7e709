"""MAS: sensitivities of a linear network by hand, of single samples, and the penalty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.config.continual import MASConfig
from neurokd.continual.mas import MAS
from neurokd.continual.method import Batch
from neurokd.data import LabelledData
from neurokd.data.stream import Task


def _line(weight: float, bias: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(weight)
        layer.bias.fill_(bias)
    return layer


def _task(*x: float) -> Task:
    data = LabelledData("tiny", np.array(x, dtype=np.float32)[:, None], np.zeros(len(x), np.int64))
    return Task(0, (0,), data, data)


def _term(method: MAS, network: nn.Module) -> dict[str, float]:
    x = torch.zeros(1, 1)
    batch = Batch(x, torch.zeros(1, dtype=torch.int64), network(x), ())
    return {name: float(value.detach()) for name, value in method.terms(network, batch).items()}


def test_gradients_of_single_samples_do_not_cancel() -> None:
    method, network = MAS(MASConfig(weight=0.5)), _line(1.0, 0.0)
    assert _term(method, network) == {}
    method.end_task(network, _task(1.0, -2.0), torch.Generator())
    # z = wx + b: |∂z²/∂w| = 2|z x| = 2 and 8, |∂z²/∂b| = 2|z| = 2 and 4 (of signs that cancel)
    assert float(method.anchor.importance["weight"]) == pytest.approx(5.0)
    assert float(method.anchor.importance["bias"]) == pytest.approx(3.0)
    with torch.no_grad():
        network.weight += 2.0
        network.bias += 1.0
    assert _term(method, network) == {"mas": pytest.approx(0.5 * (5 * 4 + 3 * 1))}


def test_importances_of_tasks_add_up_around_the_last_weights() -> None:
    method, network = MAS(MASConfig(weight=1.0)), _line(1.0, 0.0)
    method.end_task(network, _task(1.0), torch.Generator())  # 2 and 2
    with torch.no_grad():
        network.weight += 1.0
    method.end_task(network, _task(1.0), torch.Generator())  # z = 2: 4 and 4
    assert _term(method, network) == {"mas": 0.0}
    with torch.no_grad():
        network.bias += 1.0
    assert _term(method, network) == {"mas": pytest.approx(6.0)}


def test_the_network_is_looked_at_in_evaluation_mode_and_left_as_it_was() -> None:
    network = nn.Sequential(nn.Dropout(0.9), _line(1.0, 0.0))
    modes: list[bool] = []
    network[0].register_forward_hook(lambda m, given, out: modes.append(m.training))
    MAS().end_task(network, _task(1.0), torch.Generator())
    assert modes == [False]
    assert network[0].training
