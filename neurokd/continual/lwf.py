"""LwF: the answers about past classes stay what they were before the task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neurokd.config.continual import LwFConfig
from neurokd.continual.anchor import under
from neurokd.continual.frozen import Teacher
from neurokd.continual.method import Batch, Method
from neurokd.continual.softened import softened_kl
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError


class LwF(Method):
    """Learning without forgetting, with a single head.

    Equation: from the second task on, with a copy T of the network as the last task left it,
    L = CE + weight · τ² · mean_B KL(softmax(z_T/τ) ‖ softmax(z_S/τ)), on the samples of the new
    task, over the classes of past tasks only: those are the outputs that the paper keeps, and a
    target for the new classes would work against what the cross-entropy teaches.
    Source: Li, Hoiem 2016 (arXiv 1606.09282), section 3.
    """

    def __init__(self, options: LwFConfig | None = None) -> None:
        self.options = options or LwFConfig()
        self.teacher: Teacher | None = None
        self.past: Tensor = torch.zeros(0, dtype=torch.int64)

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if self.teacher is None or not self.options.weight:
            return {}
        logits, _ = self.teacher.answer(batch.x)
        kl = softened_kl(batch.logits[:, self.past], logits[:, self.past], self.options.temperature)
        return {"lwf": self.options.weight * kl}

    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        self.teacher = Teacher(network)
        device = next(network.parameters()).device
        known = sorted({*self.past.tolist(), *task.classes})
        self.past = torch.tensor(known, dtype=torch.int64, device=device)

    def state(self) -> dict[str, Tensor]:
        if self.teacher is None:
            return {}
        teacher = {f"teacher.{key}": value for key, value in self.teacher.state().items()}
        return {"past": self.past, **teacher}

    def load_state(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        if state and "past" not in state:
            raise FileFormatError("the state of lwf lacks the past classes", where="last.ckpt")
        self.past = state.get("past", torch.zeros(0, dtype=torch.int64))
        self.teacher = Teacher.from_state(network, under("teacher.", state)) if state else None
