"""Classification: what a batch costs without a teacher, and the form of every objective."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.batch_share import WHOLE
from neurokd.training.logits import dense_logits, student_logits


class Objective(ABC):
    """Maps a batch to logits and to named loss terms; the loss is their sum.

    ``network`` is what is trained. It may be replaced by a wrapper of the same network (of several
    processes, of torch.compile), through which the forward pass then goes.

    Targets are classes (B,), or their probabilities (B, K) as mixup makes them; ``label_smoothing``
    σ makes t of them (1 − σ) t + σ / K, in the cross-entropy alone. ``share`` is the part of each
    batch that this process has.
    """

    def __init__(self, network: nn.Module, label_smoothing: float = 0.0) -> None:
        self.network = network
        self.label_smoothing = label_smoothing
        self.share = WHOLE

    @abstractmethod
    def __call__(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Shapes: images (B, C, H, W) or event frames (B, T, C, H, W), targets (B,) int64 or
        (B, K) → logits (B, K), scalars.
        """

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean over the batch, after label smoothing."""
        return F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)


class DenseClassification(Objective):
    """Cross-entropy of a dense network."""

    def __call__(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits = dense_logits(self.network, images)
        return logits, {"ce": self.cross_entropy(logits, targets)}


class SpikingClassification(Objective):
    """Cross-entropy of a spiking network without a teacher."""

    def __init__(self, network: nn.Module, steps: int, label_smoothing: float = 0.0) -> None:
        super().__init__(network, label_smoothing)
        self.steps = steps

    def __call__(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits = student_logits(self.network, images, self.steps)
        return logits, {"ce": self.cross_entropy(logits, targets)}
