"""`StreamResults`: the numbers of a grid of streams beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurokd.reproduce.ordering import Ordering, check_ordering
from neurokd.reproduce.plan import Plan
from neurokd.reproduce.pool import Failure
from neurokd.reproduce.statistics import Difference, Mean, mean_of, paired
from neurokd.reproduce.stream_experiment import Quantity, StreamArm, StreamExperiment
from neurokd.reproduce.stream_grid import ORDERS, StreamRun


@dataclass(frozen=True)
class Measured:
    """One quantity of an arm, by seed, in the unit in which it is shown, and the paper's number."""

    quantity: Quantity
    values: Mapping[int, float]
    mean: Mean | None
    published: float | None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        if self.mean is None or self.published is None:
            return None
        return self.mean.mean - self.published


@dataclass(frozen=True)
class StreamArmResult:
    """An arm on one data set; ``gain`` is that of the first quantity on the baseline."""

    arm: StreamArm
    measured: tuple[Measured, ...]
    gain: Difference | None

    @property
    def main(self) -> Measured:
        """The quantity that decides."""
        return self.measured[0]


@dataclass(frozen=True)
class StreamDataResult:
    """One data set: its arms, and whether they come in the order of the paper's numbers."""

    data: str
    arms: tuple[StreamArmResult, ...]
    ordering: Ordering | None


@dataclass(frozen=True)
class StreamResults:
    """The whole table; ``changes`` says what differs from the full setting, a line each."""

    experiment: StreamExperiment
    neurons: int
    seeds: int
    budget_minutes: float | None
    changes: tuple[str, ...]
    data: tuple[StreamDataResult, ...]
    failures: Mapping[str, Failure]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what is unknown is null. Values are in the units that their labels name."""
        return {
            "experiment": self.experiment.name,
            "title": self.experiment.title,
            "neurons": self.neurons,
            "setting": self.experiment.setting,
            "orders": [str(order) for order in ORDERS[: self.seeds]],
            "budget_minutes": self.budget_minutes,
            "changes": list(self.changes),
            "data": [
                {
                    "data": result.data,
                    "arms": [_arm_dict(row) for row in result.arms],
                    "ordering": result.ordering and _ordering_dict(result.ordering),
                }
                for result in self.data
            ],
            "failed": {key: failure.line for key, failure in self.failures.items()},
        }


def number_at(summary: Mapping[str, Any], key: str) -> float | None:
    """The number at a dotted key, the mean of a list; None where there is none."""
    found: Any = summary
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return None if found is None else float(np.mean(found))


def summarise_streams(
    experiment: StreamExperiment,
    runs: Sequence[StreamRun],
    summaries: Mapping[str, Mapping[str, Any]],
    failures: Mapping[str, Failure],
    *,
    budget_minutes: float | None = None,
    plan: Plan | None = None,
    neurons: int | None = None,
) -> StreamResults:
    """Statistics of all runs that are there; ``summaries`` are by the runs' keys."""
    by_arm: dict[str, dict[str, dict[int, Mapping[str, Any]]]] = {}
    for run in runs:
        of_arm = by_arm.setdefault(run.data, {}).setdefault(run.arm, {})
        if run.key in summaries:
            of_arm[run.seed] = summaries[run.key]
    return StreamResults(
        experiment,
        experiment.neurons if neurons is None else neurons,
        len({run.seed for run in runs}),
        budget_minutes,
        _changes(experiment, runs, plan, neurons),
        tuple(_data_result(experiment, name, arms) for name, arms in by_arm.items()),
        failures,
    )


def _data_result(
    experiment: StreamExperiment,
    data: str,
    by_arm: Mapping[str, Mapping[int, Mapping[str, Any]]],
) -> StreamDataResult:
    measured = {
        arm.name: tuple(_measured(q, arm, data, by_arm[arm.name]) for q in experiment.quantities)
        for arm in experiment.arms
    }
    main = {name: of_arm[0].values for name, of_arm in measured.items()}
    rows = tuple(
        StreamArmResult(
            arm,
            measured[arm.name],
            paired(main[arm.name], main[experiment.baseline])
            if experiment.baseline not in (None, arm.name)
            else None,
        )
        for arm in experiment.arms
    )
    claimed = _published_order(experiment, measured)
    return StreamDataResult(data, rows, check_ordering(claimed, main) if claimed else None)


def _measured(
    quantity: Quantity, arm: StreamArm, data: str, summaries: Mapping[int, Mapping[str, Any]]
) -> Measured:
    found = {seed: number_at(summary, quantity.key) for seed, summary in summaries.items()}
    values = {s: round(quantity.scale * v, 9) for s, v in found.items() if v is not None}
    published = arm.published.get(data, {}).get(quantity.key)
    return Measured(
        quantity,
        values,
        mean_of(list(values.values())) if values else None,
        None if published is None else round(quantity.scale * published, 9),
    )


def _published_order(
    experiment: StreamExperiment, measured: Mapping[str, tuple[Measured, ...]]
) -> tuple[str, ...]:
    """Arms from the paper's best to its worst; of equal numbers the first arm."""
    known: dict[float, str] = {}
    for arm in experiment.arms:
        published = measured[arm.name][0].published
        if published is not None and not experiment.quantities[0].bound:
            known.setdefault(published, arm.name)
    ordered = sorted(known, reverse=experiment.quantities[0].rises)
    return tuple(known[number] for number in ordered) if len(known) > 1 else ()


def _changes(
    experiment: StreamExperiment,
    runs: Sequence[StreamRun],
    plan: Plan | None,
    neurons: int | None,
) -> tuple[str, ...]:
    lines = []
    if neurons is not None and neurons != experiment.neurons:
        lines.append(f"{experiment.neurons:,} → {neurons:,} neurons (n in proportion)")
    shorter: dict[str, str] = {}
    for run in runs:
        full = plan.full.get(run.key) if plan else None
        used = plan.used.get(run.key) if plan else None
        if full is None or used is None or full == used:
            continue
        words = f"{run.data}: {full.epochs:,} → {used.epochs:,} epochs a task"
        switch = shorter.setdefault(words, "")
        now = run.config.network.switch_samples
        if now is not None and not switch:
            before = round(now * full.epochs / used.epochs)
            shorter[words] = f", N_gaba in proportion ({before:,} → {now:,})"
    return (*lines, *(words + switch for words, switch in shorter.items()))


def _arm_dict(row: StreamArmResult) -> dict[str, Any]:
    return {
        "arm": row.arm.name,
        "label": row.arm.label,
        "gain": row.gain and asdict(row.gain),
        "quantities": {
            each.quantity.key: {
                "label": each.quantity.label,
                "by_order": {str(ORDERS[seed]): value for seed, value in each.values.items()},
                "mean": each.mean and asdict(each.mean),
                "published": each.published,
                "difference": each.difference,
            }
            for each in row.measured
        },
    }


def _ordering_dict(ordering: Ordering) -> dict[str, Any]:
    return {
        "arms": list(ordering.arms),
        "holds": ordering.holds,
        "beyond_error": ordering.beyond_error,
        "steps": [
            {
                "better": step.better,
                "worse": step.worse,
                "difference": step.difference and asdict(step.difference),
                "holds": step.holds,
            }
            for step in ordering.steps
        ],
    }
