"""The grid: one training run for each data set, arm and seed, and the teachers they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurokd.config import TrainConfig
from neurokd.errors import UsageError
from neurokd.reproduce.experiment import Experiment

TEACHER = "teacher"
"""What stands for the arm of a teacher's run."""


@dataclass(frozen=True)
class GridRun:
    """One training run; ``needs`` is the key of the run that trains its teacher."""

    key: str
    data: str
    arm: str
    seed: int
    config: TrainConfig
    needs: str | None = None


def make_grid(
    experiment: Experiment,
    data: Sequence[str],
    seeds: int,
    *,
    foreign_teacher: bool = False,
    device: str = "cpu",
) -> tuple[GridRun, ...]:
    """Teachers first, then seed by seed, so that whole comparisons are there early.

    Each (data set, seed) has a teacher of its own, shared by its arms: the standard errors then
    contain the luck of the teacher. With ``foreign_teacher`` none is trained.
    Raises: `UsageError` for a data set without a definition, or fewer seeds than one.
    """
    if seeds < 1:
        raise UsageError("at least one seed is needed", where="--seeds", found=str(seeds))
    runs = []
    for name in dict.fromkeys(data):
        if name not in experiment.bases:
            raise UsageError(
                f"{experiment.name} has no definition for this data set",
                where="--data",
                expected=", ".join(experiment.bases),
                found=repr(name),
            )
        base = experiment.bases[name]
        for seed in range(seeds):
            fixed = {"seed": seed, "device": device, "teacher": None}
            teacher = f"{name}-{TEACHER}-{seed}"
            if not foreign_teacher:
                config = base.teacher.model_copy(update=fixed)
                runs.append(GridRun(teacher, name, TEACHER, seed, config))
            for arm in experiment.arms:
                config = base.student.model_copy(update={**fixed, "distill": arm.distill})
                needs = None if foreign_teacher or arm.distill is None else teacher
                runs.append(
                    GridRun(f"{name}-{arm.name}-{seed}", name, arm.name, seed, config, needs)
                )
    return tuple(sorted(runs, key=lambda run: (run.arm != TEACHER, run.seed)))
