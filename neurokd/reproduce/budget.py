"""Grids that end in a given time: fewer epochs, then fewer training samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from neurokd.config import TrainConfig
from neurokd.errors import UsageError
from neurokd.reproduce.grid import TEACHER, GridRun

LEAST_EPOCHS = 12
LEAST_SAMPLES = 500
"""What a budget never goes below, unless the full recipe is below it already."""


@dataclass(frozen=True)
class Cost:
    """What a run takes on this machine, measured while all its workers were busy.

    ``fixed_seconds`` is loading, building and testing; ``samples`` is the size of the training set.
    """

    fixed_seconds: float
    seconds_per_sample: float
    samples: int


Kind = tuple[str, str]
"""(data set, "teacher", "alone" or "distilled"): what is measured once."""


@dataclass(frozen=True)
class Size:
    """Length of a training: all its ``epochs`` pass over the same ``samples``."""

    epochs: int
    samples: int


def kind_of(run: GridRun) -> Kind:
    """The measurement that stands for this run."""
    if run.arm == TEACHER:
        return run.data, TEACHER
    return run.data, "alone" if run.config.distill is None else "distilled"


def full_size(config: TrainConfig, samples: int) -> Size:
    """What the configuration asks for, of a training set of so many samples."""
    return Size(config.recipe.epochs, min(config.samples or samples, samples))


def shrunk_size(full: Size, fraction: float, batch_size: int) -> Size:
    """``fraction`` of the work: fewer epochs down to `LEAST_EPOCHS`, then fewer samples.

    At least `LEAST_SAMPLES` and four batches are left.
    """
    work = fraction * full.epochs * full.samples
    least = min(full.epochs, LEAST_EPOCHS)
    epochs = max(least, int(work / full.samples))
    floor = min(full.samples, max(LEAST_SAMPLES, 4 * batch_size))
    samples = full.samples if epochs > least else max(floor, int(work / epochs))
    return Size(epochs, min(full.samples, samples))


def resized(config: TrainConfig, size: Size) -> TrainConfig:
    """The configuration with that length; phases counted in epochs shrink in proportion."""
    recipe = config.recipe
    share = size.epochs / recipe.epochs
    shorter: dict[str, Any] = {
        "epochs": size.epochs,
        "warmup_epochs": min(int(recipe.warmup_epochs * share), size.epochs - 1),
        "mixup_epochs": math.ceil(recipe.mixup_epochs * share),
    }
    values = config.model_dump() | {
        "samples": size.samples,
        "recipe": recipe.model_dump() | shorter,
    }
    return TrainConfig.model_validate(values)


def run_seconds(size: Size, cost: Cost) -> float:
    """What one run takes."""
    return cost.fixed_seconds + size.epochs * size.samples * cost.seconds_per_sample


def grid_seconds(
    runs: Sequence[GridRun], sizes: Mapping[str, Size], costs: Mapping[Kind, Cost], workers: int
) -> float:
    """Time of the grid: the work shared by the workers, or its longest teacher and student."""
    each = {run.key: run_seconds(sizes[run.key], costs[kind_of(run)]) for run in runs}
    chains = [each[run.key] + (each[run.needs] if run.needs else 0.0) for run in runs]
    return max(sum(each.values()) / workers, *chains)


def fit_budget(
    runs: Sequence[GridRun], costs: Mapping[Kind, Cost], workers: int, budget_seconds: float
) -> dict[str, Size]:
    """The size of each run: the largest common fraction of the work that fits the budget.

    Raises: `UsageError` if not even the least sizes fit.
    """

    def sizes(fraction: float) -> dict[str, Size]:
        return {
            run.key: shrunk_size(
                full_size(run.config, costs[kind_of(run)].samples),
                fraction,
                run.config.recipe.batch_size,
            )
            for run in runs
        }

    def seconds(given: Mapping[str, Size]) -> float:
        return grid_seconds(runs, given, costs, workers)

    return largest_that_fits(sizes, seconds, budget_seconds)


def largest_that_fits(
    sizes: Callable[[float], dict[str, Size]],
    seconds: Callable[[Mapping[str, Size]], float],
    budget_seconds: float,
) -> dict[str, Size]:
    """The sizes at the largest fraction, 0 … 1, whose time is within the budget.

    Raises: `UsageError` if not even the least sizes fit.
    """
    if seconds(sizes(1.0)) <= budget_seconds:
        return sizes(1.0)
    least = seconds(sizes(0.0))
    if least > budget_seconds:
        raise UsageError(
            "the budget is too small for this grid on this machine",
            where="--budget",
            expected=f"at least {math.ceil(least / 60)} minutes",
            found=f"{budget_seconds / 60:g}",
            remedy="give it more time, or take fewer seeds or data sets",
        )
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        fits = seconds(sizes(middle)) <= budget_seconds
        low, high = (middle, high) if fits else (low, middle)
    return sizes(low)


def with_sizes(runs: Sequence[GridRun], sizes: Mapping[str, Size]) -> tuple[GridRun, ...]:
    """The runs at their sizes."""
    return tuple(replace(run, config=resized(run.config, sizes[run.key])) for run in runs)
