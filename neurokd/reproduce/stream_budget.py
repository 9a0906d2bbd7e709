"""Streams that are learned in a given time: fewer epochs, and an inhibition that comes sooner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from neurokd.config.continual import ContinualConfig
from neurokd.errors import UsageError
from neurokd.reproduce.budget import Size, largest_that_fits
from neurokd.reproduce.stream_grid import StreamRun

LEAST_EPOCHS = 2
"""What a budget never goes below, unless the full length is below it already."""


@dataclass(frozen=True)
class StreamCost:
    """What a stream takes on this machine, measured while all its workers were busy.

    ``fixed_seconds`` is loading, and testing at the ends of the tasks; ``sampling_seconds`` is one
    sampling within each of the tasks; ``samples`` are those of all tasks.
    """

    fixed_seconds: float
    seconds_per_sample: float
    sampling_seconds: float
    samples: int


def stream_kind(run: StreamRun) -> str:
    """The measurement that stands for this run: data, network and methods, whatever their values.

    What all runs of a kind have in common is what a step of theirs costs.
    """
    network = run.config.network
    sizes = "x".join(str(size) for size in network.sizes or ())
    winners = f"-k{network.k}" if network.k else ""
    levels = f"-{run.config.ssd.levels}-{run.config.ssd.neurons}" if run.config.ssd else ""
    return "-".join((run.data, network.name, sizes + winners, *run.config.methods)) + levels


def with_epochs(config: ContinualConfig, epochs: int) -> ContinualConfig:
    """The configuration with that many epochs of a task.

    N_gaba and the distance of the samplings shrink in proportion, so that the inhibition is
    complete after the same part of the first task.
    """
    share = epochs / config.learning.epochs
    values = config.model_dump()
    values["learning"]["epochs"] = epochs
    values["learning"]["evaluate_every"] = _every(config, epochs)
    switch = config.network.switch_samples
    if switch is not None:
        values["network"]["switch_samples"] = max(1, round(switch * share))
    return ContinualConfig.model_validate(values)


def _every(config: ContinualConfig, epochs: int) -> int:
    every = config.learning.evaluate_every
    return max(1, round(every * epochs / config.learning.epochs)) if every else 0


def stream_seconds(run: StreamRun, size: Size, cost: StreamCost) -> float:
    """What one run takes at a size."""
    every = _every(run.config, size.epochs)
    samplings = (size.epochs - 1) // every if every else 0
    learning = size.epochs * size.samples * cost.seconds_per_sample
    return cost.fixed_seconds + learning + samplings * cost.sampling_seconds


def fit_streams(
    runs: Sequence[StreamRun], costs: Mapping[str, StreamCost], workers: int, budget_seconds: float
) -> dict[str, Size]:
    """The size of each run: the largest common part of their epochs that fits the budget.

    Raises: `UsageError` if not even `LEAST_EPOCHS` fit.
    """

    def sizes(fraction: float) -> dict[str, Size]:
        return {run.key: _shrunk(run, costs[stream_kind(run)].samples, fraction) for run in runs}

    def seconds(given: Mapping[str, Size]) -> float:
        each = [stream_seconds(run, given[run.key], costs[stream_kind(run)]) for run in runs]
        return max(sum(each) / workers, *each)

    return largest_that_fits(sizes, seconds, budget_seconds)


def _shrunk(run: StreamRun, samples: int, fraction: float) -> Size:
    full = run.config.learning.epochs
    return Size(max(min(full, LEAST_EPOCHS), int(full * fraction)), samples)


def sizes_of_epochs(runs: Sequence[StreamRun], epochs: int) -> dict[str, Size]:
    """``epochs`` of a task for the longest runs of each data set, in proportion for the others.

    Raises: `UsageError` for fewer epochs than `LEAST_EPOCHS`, or more than the full length.
    """
    longest: dict[str, int] = {}
    for run in runs:
        longest[run.data] = max(longest.get(run.data, 0), run.config.learning.epochs)
    most = min(longest.values())
    if not LEAST_EPOCHS <= epochs <= most:
        raise UsageError(
            "a task cannot be learned for so long",
            where="--epochs",
            expected=f"{LEAST_EPOCHS} … {most}",
            found=str(epochs),
        )
    return {
        run.key: Size(_in_proportion(run, epochs, longest[run.data]), run.config.samples or 0)
        for run in runs
    }


def full_sizes(runs: Sequence[StreamRun]) -> dict[str, Size]:
    """The size of each run as it is, where no samples were counted."""
    return {run.key: Size(run.config.learning.epochs, run.config.samples or 0) for run in runs}


def _in_proportion(run: StreamRun, epochs: int, longest: int) -> int:
    own = run.config.learning.epochs
    return max(min(own, LEAST_EPOCHS), round(own * epochs / longest))


def with_stream_sizes(
    runs: Sequence[StreamRun], sizes: Mapping[str, Size]
) -> tuple[StreamRun, ...]:
    """The runs at their sizes."""
    return tuple(
        replace(run, config=with_epochs(run.config, sizes[run.key].epochs)) for run in runs
    )
