"""Stages are named by a path, by a number, or are the last."""

from __future__ import annotations

import pytest
from torch import nn

from neurokd.config import DistillConfig
from neurokd.errors import UsageError
from neurokd.training.stages import compared_stages, last_stages, require_last_stage


class _Stages(nn.Module):
    def __init__(self, *stages: str) -> None:
        super().__init__()
        self.feature_stages = stages


STUDENT, TEACHER = _Stages("a", "b"), _Stages("x", "y", "z")


def test_the_last_unless_a_number_or_a_path_says_otherwise() -> None:
    def stages(**options: object) -> tuple[str, str]:
        return compared_stages(STUDENT, TEACHER, DistillConfig.model_validate(options))

    assert stages() == ("b", "z")
    assert stages(stage=1) == ("a", "x")
    assert stages(stage=2, teacher_stage="x.0") == ("b", "x.0")
    assert stages(stage=3, student_stage="a") == ("a", "z")
    with pytest.raises(UsageError, match="expected 1 to 2, found 3"):
        stages(stage=3)


def test_cat_kd_takes_the_last_stages_or_those_that_are_named() -> None:
    named = DistillConfig(stage=1, student_stage="c", teacher_stage="x")
    assert last_stages(STUDENT, TEACHER, named) == ("b", "z")
    assert last_stages(nn.Identity(), TEACHER, named) == ("c", "z")


def test_a_network_that_does_not_say_needs_a_path() -> None:
    with pytest.raises(UsageError, match="feature_stages.*set distill.teacher_stage"):
        compared_stages(STUDENT, nn.Identity(), DistillConfig())
    paths = DistillConfig(student_stage="body", teacher_stage="body")
    assert compared_stages(nn.Identity(), nn.Identity(), paths) == ("body", "body")


def test_what_has_a_classifier_behind_it() -> None:
    require_last_stage(STUDENT, "b")
    require_last_stage(nn.Identity(), "anything")
    with pytest.raises(UsageError, match="expected b, found a"):
        require_last_stage(STUDENT, "a")
