"""Objectives: what a batch costs, as a configuration describes it."""

from __future__ import annotations

from torch import nn

from neurokd.config import TrainConfig
from neurokd.training.classification import (
    DenseClassification,
    Objective,
    SpikingClassification,
)
from neurokd.training.distillation import Distillation
from neurokd.training.logits import dense_logits, student_logits

__all__ = [
    "DenseClassification",
    "Distillation",
    "Objective",
    "SpikingClassification",
    "dense_logits",
    "make_objective",
    "student_logits",
]


def make_objective(config: TrainConfig, model: nn.Module, teacher: nn.Module | None) -> Objective:
    """The objective that a configuration describes.

    Raises: `UsageError` for stages and layers that the networks do not have.
    """
    smoothing = config.recipe.label_smoothing
    if config.role == "teacher":
        return DenseClassification(model, smoothing)
    if config.distill is None or teacher is None:
        return SpikingClassification(model, config.steps, smoothing)
    return Distillation(model, teacher, config.steps, config.distill, smoothing)
