"""`Method`: one rule against forgetting, as part of a batch's loss and of what is remembered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurokd.continual.observe import Winners
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Task


@dataclass(frozen=True)
class Batch:
    """A batch after the forward pass: x (B, *shape), y (B,) int64, logits (B, K) with a graph, and
    the activations of each Top-K layer."""

    x: Tensor
    y: Tensor
    logits: Tensor
    winners: tuple[Winners, ...]


class Method(ABC):
    """What a method adds to training on a stream: L = Π ce_weight · CE + Σ terms.

    Methods are combined by giving several to a learner. The hooks do nothing unless a method needs
    them; none of them ever sees samples of another task than the one it is called for.
    """

    @property
    def ce_weight(self) -> float:
        """Factor of the cross-entropy in the task that is being learned."""
        return 1.0

    @abstractmethod
    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Scalars that are added to the loss, by name and with their weights; none of weight 0."""

    def training_data(self, data: LabelledData) -> LabelledData:
        """The samples of an epoch: those of the task, unless a method keeps exemplars."""
        return data

    def begin_task(self, network: nn.Module, task: Task) -> None:
        """Called before the first step of a task."""
        return None

    def before_step(self, network: nn.Module, batch: Batch) -> None:
        """Called with the gradients of the loss in place, before clipping and the optimiser."""
        return None

    def after_step(self, network: nn.Module) -> None:
        """Called when weights have changed and the constraints hold again."""
        return None

    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        """Called after the last step of a task: what must be remembered is taken here."""
        return None

    def measured(self) -> dict[str, float]:
        """What it has measured in an epoch besides its terms; asked at the end of each."""
        return {}

    def scores(self, network: nn.Module, x: Tensor) -> Tensor | None:
        """(N, K) scores if the method classifies in another way than by the logits."""
        return None

    def state(self) -> dict[str, Tensor]:
        """All that changes, for the checkpoint; names are the method's own."""
        return {}

    def load_state(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave; the tensors are the method's from now on."""
        return None
