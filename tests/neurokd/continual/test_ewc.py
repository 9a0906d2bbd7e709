"""EWC: the Fisher information by formula and by hand, and the penalty of several tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.config.continual import EWCConfig
from neurokd.continual.ewc import EWC, fisher
from neurokd.continual.method import Batch
from neurokd.data import LabelledData
from neurokd.data.stream import Task


def _linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return layer


def _task(x: list[list[float]], y: list[int]) -> Task:
    data = LabelledData("tiny", np.array(x, dtype=np.float32), np.array(y))
    return Task(0, tuple(sorted(set(y))), data, data)


def _batch(network: nn.Module) -> Batch:
    x = torch.zeros(1, 2)
    return Batch(x, torch.zeros(1, dtype=torch.int64), network(x), ())


def test_the_fisher_squares_the_sum_over_a_batch() -> None:
    network = _linear([[0.0, 0.0], [0.0, 0.0]])
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    # p = ½, label 0: β (∓½)(1, 2) a sample; together ∓β(1, 2), squared β²(1, 4), for 2 samples
    together = fisher(network, [x], beta=0.5)["weight"]
    torch.testing.assert_close(together, 0.25 * torch.tensor([[0.5, 2.0]]).expand(2, 2))
    # alone each ∓β/2 (1, 2), squared β²/4 (1, 4), twice, for 2 samples: half of that
    apart = fisher(network, list(x.split(1)), beta=0.5)["weight"]
    torch.testing.assert_close(apart, together / 2)


def test_the_fisher_of_a_linear_softmax_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(3, 4)), rng.normal(size=(7, 4))
    beta, expected = 0.7, np.zeros((3, 4))
    for part in (x[:5], x[5:]):
        z = part @ weight.T
        p = np.exp(beta * z) / np.exp(beta * z).sum(axis=1, keepdims=True)
        answer = np.eye(3)[z.argmax(axis=1)]  # its own answers, not the labels
        expected += (beta * (p - answer).T @ part) ** 2 / 7
    given = torch.tensor(x, dtype=torch.float32)
    found = fisher(_linear(weight.tolist()), [given[:5], given[5:]], beta)["weight"]
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_the_penalty_is_the_sum_over_tasks_without_a_half() -> None:
    method = EWC(EWCConfig(weight=3.0, beta=1.0))
    network = _linear([[0.0, 0.0], [0.0, 0.0]])
    generator = torch.Generator().manual_seed(0)
    assert method.terms(network, _batch(network)) == {}
    method.end_task(network, _task([[1.0, 0.0]], [0]), generator)  # F = ¼ in the first column
    with torch.no_grad():
        network.weight.fill_(2.0)
    # 3 · (¼ + ¼) · 2²
    assert method.terms(network, _batch(network))["ewc"].item() == pytest.approx(6.0)
    method.end_task(network, _task([[0.0, 2.0]], [1]), generator)  # F = 1 in the second column
    with torch.no_grad():
        network.weight.fill_(3.0)
    # 3 · (2 · ¼ · (3−0)² + 2 · 1 · (3−2)²)
    assert method.terms(network, _batch(network))["ewc"].item() == pytest.approx(19.5)


def test_it_looks_at_the_batches_it_was_given_and_no_more() -> None:
    seen: list[int] = []
    network = _linear([[1.0, 0.0], [0.0, 1.0]])
    network.register_forward_hook(lambda m, given, out: seen.append(len(given[0])))
    task = _task([[1.0, float(i)] for i in range(10)], [i % 2 for i in range(10)])
    generator = torch.Generator().manual_seed(0)
    EWC(EWCConfig(batches=2, batch_size=3)).end_task(network, task, generator)
    assert seen == [3, 3]
    EWC(EWCConfig(batches=4, batch_size=4)).end_task(network, task, generator)
    assert seen == [3, 3, 4, 4, 2]


def test_the_network_is_looked_at_in_evaluation_mode_and_left_as_it_was() -> None:
    network = nn.Sequential(nn.Dropout(0.9), _linear([[1.0, 0.0], [0.0, 1.0]]))
    network.train()
    modes: list[bool] = []
    network[0].register_forward_hook(lambda m, given, out: modes.append(m.training))
    EWC().end_task(network, _task([[1.0, 2.0]], [0]), torch.Generator().manual_seed(0))
    assert modes == [False]
    assert network.training and network[0].training


def test_weight_zero_adds_nothing() -> None:
    method = EWC(EWCConfig(weight=0))
    network = _linear([[1.0, 0.0], [0.0, 1.0]])
    method.end_task(network, _task([[1.0, 2.0]], [0]), torch.Generator().manual_seed(0))
    assert method.terms(network, _batch(network)) == {}
