"""`Learner`: what learns a stream of tasks, whatever its network and its rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neurokd.data.stream import Task


class Learner(ABC):
    """Learns tasks one after another; the loop over tasks and epochs is not its business."""

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """The network as it is now; what is evaluated, saved and deployed."""

    @abstractmethod
    def begin_task(self, task: Task) -> None:
        """Called before the first epoch of a task."""

    @abstractmethod
    def epoch(self, task: Task, generator: torch.Generator) -> dict[str, float]:
        """One pass over the task's training samples; mean loss terms, and ``accuracy``.

        All randomness comes from ``generator``.
        """

    @abstractmethod
    def end_task(self, task: Task, generator: torch.Generator) -> None:
        """Called after the last epoch of a task."""

    @abstractmethod
    def scores(self, x: Tensor) -> Tensor:
        """(N, *shape) → (N, K), nothing changes by it."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that changes, for the checkpoint."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave; `FileFormatError` if it does not fit."""
