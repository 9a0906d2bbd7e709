"""Stages: which modules of student and teacher are compared."""

from __future__ import annotations

from torch import nn

from neurokd.config import DistillConfig
from neurokd.errors import UsageError


def feature_stages(network: nn.Module) -> tuple[str, ...]:
    """Module paths of the network's stages, first to last; none if it does not say."""
    return tuple(getattr(network, "feature_stages", ()))


def compared_stage(
    network: nn.Module, number: int | None, path: str | None, option: str = "student_stage"
) -> str:
    """Module path of a stage: ``path`` if given, else number ``number`` (from 1), else the last.

    ``option`` is the key that would name a path. Raises: `UsageError` for a stage not there.
    """
    return path or _numbered(network, number, option)


def compared_stages(
    student: nn.Module, teacher: nn.Module, config: DistillConfig
) -> tuple[str, str]:
    """Module paths of the stages that SAMD compares, of the student and of the teacher.

    Raises: `UsageError` for a stage that is not there.
    """
    return (
        compared_stage(student, config.stage, config.student_stage),
        compared_stage(teacher, config.stage, config.teacher_stage, "teacher_stage"),
    )


def last_stages(student: nn.Module, teacher: nn.Module, config: DistillConfig) -> tuple[str, str]:
    """Module paths of the stages in front of the classifiers, which CAT-KD compares.

    Each is the last of ``feature_stages``, else, where a network lists none, the path that is
    named. Raises: `UsageError` if there is neither.
    """
    return _last(student, config.student_stage, "student_stage"), _last(
        teacher, config.teacher_stage, "teacher_stage"
    )


def require_last_stage(network: nn.Module, stage: str) -> None:
    """Raise `UsageError` unless the classifier follows this stage, as far as the network says."""
    stages = feature_stages(network)
    if stages and stage != stages[-1]:
        raise UsageError(
            "mapping cam-cam needs the stage in front of the student's classifier",
            where=type(network).__name__,
            expected=stages[-1],
            found=stage,
            remedy="remove distill.stage and student_stage, or use mapping cam-sam",
        )


def _last(network: nn.Module, named: str | None, option: str) -> str:
    if named is not None and not feature_stages(network):
        return named
    return _numbered(network, None, option)


def _numbered(network: nn.Module, number: int | None, option: str) -> str:
    stages = feature_stages(network)
    if not stages:
        raise UsageError(
            "the network does not say which its stages are",
            where=type(network).__name__,
            expected="module paths in feature_stages",
            remedy=f"use one of neurokd.models, add the property, or set distill.{option}",
        )
    if number is not None and number > len(stages):
        raise UsageError(
            "the network has no such stage",
            where=f"{type(network).__name__}, distill.stage",
            expected=f"1 to {len(stages)}",
            found=str(number),
        )
    return stages[-1 if number is None else number - 1]
