"""`StreamRun`: one learner on its stream, epoch by epoch, and what it leaves in its run folder."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from neurokd import atomic
from neurokd.config import ContinualConfig
from neurokd.continual.learner import Learner
from neurokd.continual.load_stream import load_stream
from neurokd.continual.make_learner import make_learner
from neurokd.continual.metrics.summary import summarise_stream
from neurokd.continual.metrics.validation_accuracy import validation_accuracy
from neurokd.continual.probe import Probe
from neurokd.continual.stream_state import StreamState, load_stream_state, save_stream
from neurokd.data import LabelledData
from neurokd.data.stream import Task
from neurokd.run import RunFolder, state_bytes

SUMMARY = "continual.json"
_EVALUATED = 2048
"""Samples of a forward pass in evaluation."""


class StreamRun:
    """A stream that is being learned: `begin`; `begin_epoch`, an epoch of ``learner``, `end_epoch`,
    until it `is_over`; `finish`.

    Raises: what its configuration, its data and its checkpoint raise.
    """

    def __init__(self, config: ContinualConfig, folder: RunFolder, resume: bool) -> None:
        self.config = config
        self.folder = folder
        self.stream = load_stream(config)
        self.state = StreamState(
            make_learner(config, self.stream),
            Probe(self.stream),
            torch.Generator().manual_seed(config.seed),
        )
        if resume:
            load_stream_state(folder.checkpoint, self.state, config)
        else:
            self.state.before = accuracies(self.learner, self.stream.tasks)
        self._resume = resume
        self._saved = self._started = time.monotonic()

    @property
    def learner(self) -> Learner:
        """What learns."""
        return self.state.learner

    @property
    def task(self) -> Task:
        """The task that is being learned."""
        return self.stream.tasks[self.state.task]

    @property
    def is_over(self) -> bool:
        """Whether all tasks are learned."""
        return self.state.task == len(self.stream.tasks)

    @property
    def epochs(self) -> tuple[int, int]:
        """(done, in all)."""
        each = self.config.learning.epochs
        return self.state.task * each + self.state.epoch, len(self.stream.tasks) * each

    def begin(self) -> None:
        """Take the run folder; nothing is written before."""
        self.folder.begin(self.config, self._resume)
        self._clear(self._resume)

    def begin_epoch(self) -> None:
        """What comes before the learner's epoch."""
        if self.state.epoch == 0:
            self.state.probe.begin_task(self.learner.network, self.task)
            self.learner.begin_task(self.task)
        self._started = time.perf_counter()

    def end_epoch(self, losses: Mapping[str, float], checkpoint_seconds: float) -> None:
        """What comes behind it: the row, evaluations that are due, the end of a task, and a
        checkpoint at the end of a task or so many seconds after the last one."""
        state, learning = self.state, self.config.learning
        seconds = round(time.perf_counter() - self._started, 4)
        state.epoch += 1
        state.rows.append({**self._where(), "split": "train", **losses, "seconds": seconds})
        every = learning.evaluate_every
        if state.epoch == learning.epochs:
            self._end_task()
        elif every and state.epoch % every == 0:
            self._measure()
            self._test(accuracies(self.learner, self.stream.tasks[: state.task + 1]))
        if state.epoch == 0 or time.monotonic() - self._saved > checkpoint_seconds:
            self.folder.write_metrics(state.rows)
            save_stream(self.folder.checkpoint, state, self.config)
            self._saved = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Leave the weights and ``continual.json``, which is returned."""
        state = self.state
        summary = summarise_stream(
            [list(each.classes) for each in self.stream.tasks],
            state.matrix,
            samples=[len(each.test) for each in self.stream.tasks],
            before=state.before,
            validation=state.validation or None,
            probe=next((row for row in reversed(state.rows) if row["split"] == "probe"), None),
        )
        self.folder.save_model(self.learner.network)
        atomic.write_text(self.folder.path / SUMMARY, json.dumps(summary, indent=1) + "\n")
        return summary

    def said(self) -> str:
        """The last epoch in a few words."""
        rows = self.state.rows
        tested = next((row for row in reversed(rows) if row["split"] == "test"), None)
        train = next(row for row in reversed(rows) if row["split"] == "train")
        words = f"task {train['task'] + 1}, loss {train['loss']:.3f}"
        return words if tested is None else f"{words}, Val.Acc {tested['accuracy']:.1%}"

    def _clear(self, resume: bool) -> None:
        """Remove what an earlier stream left, or only what a killed process left half-written."""
        path = self.folder.path
        for leftover in (*path.glob(f".{SUMMARY}.*"), *path.glob("tasks/.*")):
            leftover.unlink()
        if not resume:
            shutil.rmtree(path / "tasks", ignore_errors=True)
            (path / SUMMARY).unlink(missing_ok=True)

    def _end_task(self) -> None:
        """Remember what the methods need, test on every task, and keep the network."""
        state, task = self.state, self.task
        self.learner.end_task(task, state.generator)
        self._measure()
        if task.validation is not None:
            held_out = [t.validation for t in self.stream.tasks if t.validation is not None]
            state.validation.append([accuracy(self.learner, data) for data in held_out])
        state.matrix.append(accuracies(self.learner, self.stream.tasks))
        self._test(state.matrix[-1][: state.task + 1])
        content = state_bytes(self.learner.network)
        atomic.write_bytes(self.folder.path / "tasks" / f"{state.task}.safetensors", content)
        state.task += 1
        state.epoch = 0

    def _measure(self) -> None:
        probe = self.state.probe.measure(self.learner.network, self.task)
        self.state.rows.append({**self._where(), "split": "probe", **probe})

    def _test(self, seen: Sequence[float]) -> None:
        """A row whose ``accuracy`` is Val.Acc: on what was seen × the fraction of tasks seen."""
        samples = [len(task.test) for task in self.stream.tasks]
        row = [*seen, *[0.0] * (len(samples) - len(seen))]  # what is not seen yet does not count
        found = {
            "accuracy": validation_accuracy(row, samples, len(seen)),
            "accuracies": list(seen),
        }
        self.state.rows.append({**self._where(), "split": "test", **found})

    def _where(self) -> dict[str, int]:
        task, epoch = self.state.task, self.state.epoch
        return {"task": task, "task_epoch": epoch, "epoch": self.epochs[0]}


def accuracies(learner: Learner, tasks: Sequence[Task]) -> list[float]:
    """The fraction of each task's test samples whose largest score is their class."""
    return [accuracy(learner, task.test) for task in tasks]


def accuracy(learner: Learner, data: LabelledData) -> float:
    """The fraction of the samples whose largest score is their class, among all K classes."""
    right = 0
    for chosen in torch.arange(len(data)).split(_EVALUATED):
        x, y = data.batch(chosen)
        scores: Tensor = learner.scores(x)
        right += int((scores.argmax(dim=1).cpu() == y).sum())
    return right / len(data)
