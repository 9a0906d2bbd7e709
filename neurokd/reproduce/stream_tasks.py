"""What a worker is asked to do of a stream: learn it, or measure what that would take."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokd.config.continual import ContinualConfig
from neurokd.reproduce.stream_budget import StreamCost, with_epochs
from neurokd.run import RunFolder

if TYPE_CHECKING:
    from neurokd.data.stream import Stream

_BATCHES, _EPOCHS, _TASKS = 6, 3, 2


@dataclass(frozen=True)
class StreamTask:
    """One run of the grid, from the beginning or from its last checkpoint."""

    key: str
    config: ContinualConfig
    folder: Path

    def run(self) -> dict[str, Any]:
        """Learn, and return what ``continual.json`` holds."""
        from neurokd.continual.learn import learn

        folder = RunFolder(self.folder)
        return learn(self.config, folder, resume=folder.checkpoint.is_file())


@dataclass(frozen=True)
class StreamTrial:
    """A few batches of the first two tasks, in a folder that is thrown away."""

    key: str
    config: ContinualConfig

    def run(self) -> StreamCost:
        """Seconds per training sample, and of everything else.

        The first epoch of a task also compiles and is not counted. The first task, in which the
        inhibition is not complete, and the others are weighed as they are in the whole stream.
        """
        from neurokd.continual.learn import learn
        from neurokd.continual.load_stream import load_stream

        started = time.perf_counter()
        stream = load_stream(self.config)
        loading = time.perf_counter() - started
        tasks = len(stream.tasks)
        samples = sum(len(task.train) for task in stream.tasks)
        small = with_epochs(self.config, _EPOCHS).model_dump()
        small |= {
            "samples": min(samples, _BATCHES * self.config.learning.batch_size * tasks),
            "tasks": None if self.config.joint else min(tasks, _TASKS),
        }
        small["learning"]["evaluate_every"] = 0
        config = ContinualConfig.model_validate(small)
        sizes = [len(task.train) for task in load_stream(config).tasks]
        with tempfile.TemporaryDirectory(prefix="neurokd-trial-") as place:
            folder = RunFolder(Path(place) / "run")
            learn(config, folder)
            rows = [row for row in read_rows(folder) if row["split"] == "train"]
        each = [
            sum(row["seconds"] for row in rows if row["task"] == i and row["task_epoch"] > 1)
            / ((_EPOCHS - 1) * size)
            for i, size in enumerate(sizes)
        ]
        per_sample = (each[0] + (tasks - 1) * each[-1]) / tasks
        at_ends, within = _testing_seconds(self.config, stream)
        return StreamCost(loading + at_ends, per_sample, within, samples)


def _testing_seconds(config: ContinualConfig, stream: Stream) -> tuple[float, float]:
    """What testing takes: at all ends of tasks together, where R needs every task, and in one
    sampling within each task, of half of the tasks in the mean."""
    from neurokd.continual.make_learner import make_learner
    from neurokd.continual.probe import Probe
    from neurokd.continual.stream_run import accuracies

    tasks = len(stream.tasks)
    learner, probe = make_learner(config, stream), Probe(stream)
    accuracies(learner, stream.tasks[:1])
    moments = [time.perf_counter()]
    accuracies(learner, stream.tasks)
    moments.append(time.perf_counter())
    probe.measure(learner.network, stream.tasks[0])
    moments.append(time.perf_counter())
    testing, probing = moments[1] - moments[0], moments[2] - moments[1]
    return (tasks + 1) * testing + 2 * tasks * probing, tasks * (testing / 2 + probing)


def finished_summary(folder: RunFolder) -> dict[str, Any] | None:
    """What ``continual.json`` holds of a run that is complete, None while it is not."""
    from neurokd.continual.stream_run import SUMMARY

    file = folder.path / SUMMARY
    if not file.is_file() or not folder.weights.is_file():
        return None
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return summary


def read_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``."""
    return [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()]
