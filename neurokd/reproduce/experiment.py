"""`Experiment`: the definition of one table of a paper, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurokd.config import DistillConfig, TrainConfig


@dataclass(frozen=True)
class Published:
    """A number of the paper, in per cent, and where it stands."""

    percent: float
    source: str


@dataclass(frozen=True)
class Arm:
    """One row of the table: what the student is given besides the labels."""

    name: str
    label: str
    distill: DistillConfig | None
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Base:
    """A data set with its two networks and their whole recipes, before any budget.

    Both are trained on ``teacher.data``; the student's ``distill`` is that of the arm,
    seed and device are those of the request.
    """

    teacher: TrainConfig
    student: TrainConfig


@dataclass(frozen=True)
class Experiment:
    """Arms on data sets, the arm that all are compared with, and the orders that the paper claims.

    ``baseline`` names the arm without a teacher, ``proposed`` the paper's method. Each of
    ``orderings`` names arms from the best to the worst. ``setting`` says what the published
    numbers were measured on.
    """

    name: str
    title: str
    setting: str
    arms: tuple[Arm, ...]
    baseline: str
    proposed: str
    orderings: tuple[tuple[str, ...], ...]
    bases: Mapping[str, Base]
    data: tuple[str, ...]
    """The data sets of a run that names none."""
