"""Requirements of the losses: what options and shapes they take."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from neurokd.errors import ShapeMismatchError, UsageError


def require_temperature(where: str, temperature: float) -> None:
    """Raise `UsageError` unless τ > 0."""
    if not temperature > 0:
        raise UsageError("temperature must be positive", where=where, found=str(temperature))


def require_choice(where: str, name: str, value: str, offered: Any) -> None:
    """Raise `UsageError` unless ``value`` is one of the ``offered`` literals."""
    if value not in get_args(offered):
        raise UsageError(
            f"unknown {name}",
            where=where,
            expected=" | ".join(get_args(offered)),
            found=repr(value),
        )


def require_logits(where: str, student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Raise `ShapeMismatchError` unless both are (B, K)."""
    if student_logits.ndim != 2 or student_logits.shape != teacher_logits.shape:
        raise ShapeMismatchError(
            "student and teacher logits differ in shape",
            where=where,
            expected="(B, K) twice",
            found=f"{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}",
        )


def require_features(where: str, student_features: Tensor, teacher_features: Tensor) -> None:
    """Raise `ShapeMismatchError` unless they are maps (T, B, C, H, W) and (B, C', H', W')."""
    student, teacher = student_features.shape, teacher_features.shape
    if len(student) != 5 or len(teacher) != 4 or student[1] != teacher[0]:
        raise ShapeMismatchError(
            "student and teacher features are no maps of one batch",
            where=where,
            expected="(T, B, C, H, W) and (B, C', H', W')",
            found=f"{tuple(student)} and {tuple(teacher)}",
        )
