"""`learn`: streams from their configurations to complete run folders, alone or several together."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from neurokd.config import ContinualConfig
from neurokd.continual.sparse_learner import SparseLearner, epoch_together, shape_of
from neurokd.continual.stream_run import SUMMARY, StreamRun
from neurokd.continual.stream_state import require_stream
from neurokd.run import RunFolder

Progress = Callable[[int, int, str], None]
"""Called with (epochs done, epochs in all, what the last evaluation gave)."""

CHECKPOINT_SECONDS = 10.0
"""Between two checkpoints; which of them a run is resumed from makes no difference."""


@dataclass(frozen=True)
class Job:
    """A stream to learn, and the run folder that it goes to."""

    config: ContinualConfig
    folder: RunFolder
    resume: bool = False


def learn(
    config: ContinualConfig,
    folder: RunFolder,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Learn the stream that a configuration describes, and leave a complete run folder.

    ``metrics.jsonl`` has a row for each epoch and evaluation, ``tasks/<i>.safetensors`` the network
    after task i, ``continual.json`` what is returned: the matrix of accuracies R and what follows
    from it. The same configuration on the same CPU gives the same bits, killed and resumed or not.
    A finished run that is resumed is left as it is.

    Every task is tested after each task, as R is defined; nothing is selected by it.
    Raises: `UsageError`, `FileFormatError`, `TrainingDivergedError`.
    """
    return learn_together([Job(config, folder, resume)], progress)[0]


def learn_together(jobs: Sequence[Job], progress: Progress | None = None) -> list[dict[str, Any]]:
    """Learn several streams in one program, an epoch of each at a time.

    Learners of the sparse engine whose networks have one shape take each step together. What a
    stream gives does not depend on the others: the bits are those of `learn`.
    Raises: as `learn`; nothing is written if one of the jobs cannot begin.
    """
    found = [_finished(job) for job in jobs]
    todo = [job for job, summary in zip(jobs, found, strict=True) if summary is None]
    runs = [StreamRun(job.config, job.folder, job.resume) for job in todo]
    for run in runs:
        run.begin()
    while open_runs := [run for run in runs if not run.is_over]:
        for group in _groups(open_runs):
            for run in group:
                run.begin_epoch()
            for run, losses in zip(group, _epochs(group), strict=True):
                run.end_epoch(losses, CHECKPOINT_SECONDS)
        if progress:
            done, total = map(sum, zip(*(run.epochs for run in runs), strict=True))
            progress(done, total, open_runs[0].said())
    made = iter([run.finish() for run in runs])
    return [next(made) if summary is None else summary for summary in found]


def _finished(job: Job) -> dict[str, Any] | None:
    """The summary of a run that is to be resumed and is complete already."""
    if not job.resume:
        return None
    require_stream(job.folder.checkpoint, job.config)
    file = job.folder.path / SUMMARY
    if not file.is_file() or not job.folder.weights.is_file():
        return None
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return summary


def _groups(runs: Sequence[StreamRun]) -> list[list[StreamRun]]:
    """Those that can step together, and each of the others by itself."""
    groups: dict[object, list[StreamRun]] = {}
    for index, run in enumerate(runs):
        learner = run.learner
        key = shape_of(learner) if isinstance(learner, SparseLearner) else index
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _epochs(group: Sequence[StreamRun]) -> list[dict[str, float]]:
    learners = [run.learner for run in group if isinstance(run.learner, SparseLearner)]
    if len(learners) > 1:
        tasks, generators = [r.task for r in group], [r.state.generator for r in group]
        return epoch_together(learners, tasks, generators)
    return [run.learner.epoch(run.task, run.state.generator) for run in group]
