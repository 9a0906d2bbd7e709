"""SI: one step by hand, and the path integral as the decrease of the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neurokd.config.continual import LearningConfig, SIConfig
from neurokd.continual.gradient_learner import GradientLearner
from neurokd.continual.si import SI
from neurokd.data import LabelledData
from neurokd.data.stream import Task


def _of(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def _task(x: list[list[float]], y: list[int], index: int = 0) -> Task:
    data = LabelledData("tiny", np.array(x, dtype=np.float32), np.array(y))
    return Task(index, tuple(sorted(set(y))), data, data)


def test_one_step_by_hand() -> None:
    beta, rate, damping = 0.5, 0.2, 0.1
    method = SI(SIConfig(weight=2.0, beta=beta, damping=damping))
    network = _of(torch.zeros(2, 2))
    learner = GradientLearner(
        network, LearningConfig(learning_rate=rate, clip_norm=0, batch_size=1), [method]
    )
    task, generator = _task([[1.0, 2.0]], [0]), torch.Generator().manual_seed(0)
    learner.begin_task(task)
    learner.epoch(task, generator)
    # g = β (∓½)(1, 2) and Δθ = ±rate · ½ (1, 2), so that w = −g Δθ = β · rate · ¼ (1, 4)
    path = beta * rate / 4 * torch.tensor([[1.0, 4.0], [1.0, 4.0]])
    torch.testing.assert_close(method.path["weight"], path)
    learner.end_task(task, generator)
    way = (rate / 2 * torch.tensor([[1.0, 2.0], [1.0, 2.0]])) ** 2
    omega = path / (way + damping)
    torch.testing.assert_close(method.anchor.importance["weight"], omega)
    assert method.path == {}

    with torch.no_grad():
        network.weight += 1.0  # and so away from θ* by 1
    second = _task([[1.0, 2.0]], [1], 1)
    learner.begin_task(second)
    terms = learner.epoch(second, generator)
    assert terms["si"] == pytest.approx(float(2.0 * omega.sum()), rel=1e-5)


def test_the_path_integral_is_the_decrease_of_the_loss() -> None:
    # Σ_i w_i = −∫ g·dθ = L(start) − L(end), for small steps and β = 1, whatever the curve.
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(6, 3, generator=generator)
    y = [0, 1, 2, 0, 1, 2]
    network = _of(torch.randn(3, 3, generator=generator))
    task, method = _task(x.tolist(), y), SI(SIConfig(beta=1.0))
    learning = LearningConfig(learning_rate=0.01, clip_norm=0, batch_size=6)
    learner = GradientLearner(network, learning, [method])
    labels = torch.tensor(y)
    before = float(F.cross_entropy(network(x), labels, reduction="sum").detach())
    learner.begin_task(task)
    for _ in range(200):
        learner.epoch(task, generator)
    after = float(F.cross_entropy(network(x), labels, reduction="sum").detach())
    assert after < before - 1
    assert float(method.path["weight"].sum()) == pytest.approx(before - after, rel=0.01)


def test_the_importances_add_up_and_the_path_begins_anew() -> None:
    method = SI(SIConfig(weight=0.0, beta=1.0))  # no pull, so that both tasks are alike
    network = _of(torch.zeros(2, 2))
    learner = GradientLearner(network, LearningConfig(clip_norm=0, batch_size=1), [method])
    task, generator = _task([[1.0, 2.0]], [0]), torch.Generator().manual_seed(0)
    learner.begin_task(task)
    learner.epoch(task, generator)
    learner.end_task(task, generator)
    once = method.anchor.importance["weight"].clone()
    with torch.no_grad():
        network.weight.zero_()
    learner.begin_task(task)
    learner.epoch(task, generator)
    learner.end_task(task, generator)
    torch.testing.assert_close(method.anchor.importance["weight"], 2 * once)
    assert torch.equal(method.anchor.centre["weight"], network.weight.detach())


def test_the_gradient_of_the_path_does_not_leak_into_the_step() -> None:
    ends = []
    for methods in ([], [SI(SIConfig(weight=0.0, beta=1.0))]):
        network = _of(torch.zeros(2, 2))
        learner = GradientLearner(network, LearningConfig(batch_size=1), methods)
        task = _task([[1.0, 2.0]], [0])
        learner.begin_task(task)
        learner.epoch(task, torch.Generator().manual_seed(0))
        ends.append(network.weight.detach().clone())
    assert torch.equal(*ends)
