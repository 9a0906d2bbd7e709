"""`Results`: the accuracies of a grid, summarised as the table and the figure show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neurokd.reproduce.experiment import Arm, Experiment
from neurokd.reproduce.grid import TEACHER, GridRun
from neurokd.reproduce.ordering import Ordering, check_ordering
from neurokd.reproduce.plan import Plan
from neurokd.reproduce.pool import Failure
from neurokd.reproduce.statistics import Difference, Mean, mean_of, paired


@dataclass(frozen=True)
class ArmResult:
    """An arm on one data set: per cent by seed, their mean, and what it gains on the baseline."""

    arm: Arm
    percents: Mapping[int, float]
    mean: Mean | None
    gain: Difference | None


@dataclass(frozen=True)
class DataResult:
    """One data set: its teachers, its arms, and the claimed orders."""

    data: str
    teacher: Mean | None
    arms: tuple[ArmResult, ...]
    orderings: tuple[Ordering, ...]
    gain: Difference | None
    """Of the proposed arm on the baseline."""


@dataclass(frozen=True)
class Results:
    """The whole table; ``shrunk`` says what the budget took away, a line each."""

    experiment: Experiment
    seeds: int
    budget_minutes: float | None
    shrunk: tuple[str, ...]
    data: tuple[DataResult, ...]
    failures: Mapping[str, Failure]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what is unknown is null."""
        return {
            "experiment": self.experiment.name,
            "title": self.experiment.title,
            "setting": self.experiment.setting,
            "seeds": self.seeds,
            "budget_minutes": self.budget_minutes,
            "shrunk": list(self.shrunk),
            "data": [_data_dict(result, self.experiment) for result in self.data],
            "failed": {key: failure.line for key, failure in self.failures.items()},
        }


def summarise(
    experiment: Experiment,
    runs: Sequence[GridRun],
    accuracies: Mapping[str, float],
    failures: Mapping[str, Failure],
    *,
    budget_minutes: float | None = None,
    plan: Plan | None = None,
) -> Results:
    """Statistics of all runs that are there; ``accuracies`` are fractions by the runs' keys."""
    percents: dict[str, dict[str, dict[int, float]]] = {}
    for run in runs:
        of_arm = percents.setdefault(run.data, {}).setdefault(run.arm, {})
        if run.key in accuracies:
            of_arm[run.seed] = round(100 * accuracies[run.key], 9)
    return Results(
        experiment,
        len({run.seed for run in runs}),
        budget_minutes,
        _shrunk(runs, plan) if plan else (),
        tuple(_data_result(experiment, name, by_arm) for name, by_arm in percents.items()),
        failures,
    )


def _data_result(
    experiment: Experiment, data: str, by_arm: Mapping[str, Mapping[int, float]]
) -> DataResult:
    baseline = by_arm[experiment.baseline]
    teachers = by_arm.get(TEACHER)
    return DataResult(
        data,
        mean_of(list(teachers.values())) if teachers else None,
        tuple(
            ArmResult(
                arm,
                by_arm[arm.name],
                mean_of(list(by_arm[arm.name].values())) if by_arm[arm.name] else None,
                None if arm.name == experiment.baseline else paired(by_arm[arm.name], baseline),
            )
            for arm in experiment.arms
        ),
        tuple(check_ordering(arms, by_arm) for arms in experiment.orderings),
        paired(by_arm[experiment.proposed], baseline),
    )


def _shrunk(runs: Sequence[GridRun], plan: Plan) -> tuple[str, ...]:
    lines: dict[str, None] = {}
    for run in runs:
        full, used = plan.full.get(run.key), plan.used.get(run.key)
        if full is None or used is None or full == used:
            continue
        changes = [
            f"{getattr(full, name):,} → {getattr(used, name):,} {what}"
            for name, what in (("epochs", "epochs"), ("samples", "training samples"))
            if getattr(full, name) != getattr(used, name)
        ]
        who = "teacher" if run.arm == TEACHER else "students"
        lines[f"{run.data}, {who}: {', '.join(changes)}"] = None
    return tuple(lines)


def _data_dict(result: DataResult, experiment: Experiment) -> dict[str, Any]:
    return {
        "data": result.data,
        "teacher_percent": result.teacher and asdict(result.teacher),
        "arms": [
            {
                "arm": row.arm.name,
                "label": row.arm.label,
                "percent_by_seed": {str(seed): value for seed, value in row.percents.items()},
                "percent": row.mean and asdict(row.mean),
                "gain_points": row.gain and asdict(row.gain),
                "published": [asdict(number) for number in row.arm.published],
            }
            for row in result.arms
        ],
        "orderings": [
            {
                "arms": list(ordering.arms),
                "holds": ordering.holds,
                "beyond_error": ordering.beyond_error,
                "steps": [
                    {
                        "better": step.better,
                        "worse": step.worse,
                        "difference_points": step.difference and asdict(step.difference),
                        "holds": step.holds,
                        "beyond_error": step.beyond_error,
                    }
                    for step in ordering.steps
                ],
            }
            for ordering in result.orderings
        ],
        "distillation": {
            "arm": experiment.proposed,
            "gain_points": result.gain and asdict(result.gain),
            "helps_beyond_error": result.gain and result.gain.beyond_error,
        },
    }
