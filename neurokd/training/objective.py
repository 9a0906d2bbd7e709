"""Objectives: what a batch costs, term by term."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.config import DistillConfig, TrainConfig
from neurokd.distill import NLDLoss, SAMDLoss
from neurokd.errors import UsageError
from neurokd.training.features import StageFeatures


class Objective(ABC):
    """Maps a batch to logits and to named loss terms; the loss is their sum."""

    @abstractmethod
    def __call__(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Shapes: images (B, C, H, W), classes (B,) → logits (B, K), scalars."""


def student_logits(student: nn.Module, images: Tensor, steps: int) -> Tensor:
    """Logits of a spiking network on static images: its membrane after T equal steps, over T.

    Shapes: (B, C, H, W) → (B, K).
    """
    membranes: Tensor = student(images.expand(steps, *images.shape))
    return membranes[-1] / steps


class DenseClassification(Objective):
    """Cross-entropy of a dense network."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.model(images)
        return logits, {"ce": F.cross_entropy(logits, classes)}


class SpikingClassification(Objective):
    """Cross-entropy of a spiking network without a teacher."""

    def __init__(self, student: nn.Module, steps: int) -> None:
        self.student = student
        self.steps = steps

    def __call__(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        logits = student_logits(self.student, images, self.steps)
        return logits, {"ce": F.cross_entropy(logits, classes)}


class Distillation(Objective):
    """CE + β·SAMD + γ·NLD of a spiking student against a frozen dense teacher.

    Feature maps are taken from ``stages``, of the student and of the teacher; the teacher's linear
    layer is ``classifier``; all are module paths. Source: CKDSNN (arXiv 2511.06902).
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        steps: int,
        config: DistillConfig,
        stages: tuple[str, str],
        classifier: str = "classifier",
    ) -> None:
        self.student = student
        self.teacher = teacher.eval().requires_grad_(False)
        self.steps = steps
        self.config = config
        head = teacher.get_submodule(classifier)
        if not isinstance(head, nn.Linear):
            raise UsageError(
                "the teacher's classifier is not a linear layer",
                where=classifier,
                expected="nn.Linear",
                found=type(head).__name__,
            )
        self.weight = head.weight
        self.samd = SAMDLoss(config.temperature, norm=config.norm, tau_squared=config.tau_squared)
        self.nld = NLDLoss(config.temperature, config.noise)
        self.student_features = StageFeatures(student, stages[0])
        self.teacher_features = StageFeatures(teacher, stages[1])

    def __call__(
        self, images: Tensor, classes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            teacher_logits = self.teacher(images)
        logits = student_logits(self.student, images, self.steps)
        saliency = self.samd(
            self.student_features.take(), self.teacher_features.take(), self.weight, teacher_logits
        )
        terms = {
            "ce": F.cross_entropy(logits, classes),
            "samd": self.config.samd * saliency,
            "nld": self.config.nld * self.nld(logits, teacher_logits, generator),
        }
        return logits, terms


def make_objective(config: TrainConfig, model: nn.Module, teacher: nn.Module | None) -> Objective:
    """The objective that a configuration describes; features are taken from the last stage."""
    if config.role == "teacher":
        return DenseClassification(model)
    if config.distill is None or teacher is None:
        return SpikingClassification(model, config.steps)
    stages = (_last_stage(model), _last_stage(teacher))
    return Distillation(model, teacher, config.steps, config.distill, stages)


def _last_stage(network: nn.Module) -> str:
    path = getattr(network, "last_stage", None)
    if not isinstance(path, str):
        raise UsageError(
            "the network does not say which is its last stage",
            where=type(network).__name__,
            expected="a module path in last_stage",
            remedy="use one of neurokd.models, or add the property",
        )
    return path
