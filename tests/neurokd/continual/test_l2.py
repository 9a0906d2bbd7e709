"""L2: the squared way from the last task's weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.config.continual import L2Config
from neurokd.continual.l2 import L2
from neurokd.continual.method import Batch
from neurokd.data import LabelledData
from neurokd.data.stream import Task


def test_the_penalty_by_hand_and_that_it_does_not_grow_with_the_tasks() -> None:
    data = LabelledData("tiny", np.zeros((1, 2), np.float32), np.zeros(1, np.int64))
    task, method, network = Task(0, (0,), data, data), L2(L2Config(weight=10.0)), nn.Linear(2, 1)
    x = torch.zeros(1, 2)
    batch = Batch(x, torch.zeros(1, dtype=torch.int64), network(x), ())
    assert method.terms(network, batch) == {}
    for _ in range(3):
        method.end_task(network, task, torch.Generator())
        with torch.no_grad():
            network.weight += torch.tensor([[1.0, -2.0]])
            network.bias += 3.0
        # 10 · (1 + 4 + 9)
        assert method.terms(network, batch)["l2"].item() == pytest.approx(140.0, rel=1e-5)
