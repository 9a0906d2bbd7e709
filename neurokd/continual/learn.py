"""`learn`: a learner on its stream, task by task and epoch by epoch, into a run folder."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
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
from neurokd.continual.stream_state import (
    StreamState,
    load_stream_state,
    require_stream,
    save_stream,
)
from neurokd.data import LabelledData
from neurokd.data.stream import Stream, Task
from neurokd.run import RunFolder, state_bytes

Progress = Callable[[int, int, str], None]
"""Called with (epochs done, epochs in all, what the last evaluation gave)."""

SUMMARY = "continual.json"
CHECKPOINT_SECONDS = 10.0
"""Between two checkpoints; which of them a run is resumed from makes no difference."""
_EVALUATED = 2048
"""Samples of a forward pass in evaluation."""


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
    summary_file = folder.path / SUMMARY
    if resume:
        require_stream(folder.checkpoint, config)
        if summary_file.is_file() and folder.weights.is_file():
            summary: dict[str, Any] = json.loads(summary_file.read_text(encoding="utf-8"))
            return summary
    stream = load_stream(config)
    state = StreamState(
        make_learner(config, stream),
        Probe(stream),
        torch.Generator().manual_seed(config.seed),
    )
    if resume:
        load_stream_state(folder.checkpoint, state, config)
    else:
        state.before = accuracies(state.learner, stream.tasks)
    folder.begin(config, resume)
    _clear(folder, resume)
    saved = time.monotonic()
    while state.task < len(stream.tasks):
        task = stream.tasks[state.task]
        _epoch(state, task, stream, config)
        if state.epoch == config.learning.epochs:
            _end_task(state, task, stream, config, folder)
        ended = state.epoch == 0
        if ended or time.monotonic() - saved > CHECKPOINT_SECONDS:
            folder.write_metrics(state.rows)
            save_stream(folder.checkpoint, state, config)
            saved = time.monotonic()
        if progress:
            done = state.task * config.learning.epochs + state.epoch
            progress(done, len(stream.tasks) * config.learning.epochs, _said(state))
    summary = summarise_stream(
        [list(each.classes) for each in stream.tasks],
        state.matrix,
        samples=[len(each.test) for each in stream.tasks],
        before=state.before,
        validation=state.validation or None,
        probe=next((row for row in reversed(state.rows) if row["split"] == "probe"), None),
    )
    folder.save_model(state.learner.network)
    atomic.write_text(summary_file, json.dumps(summary, indent=1) + "\n")
    return summary


def _clear(folder: RunFolder, resume: bool) -> None:
    """Remove what an earlier stream left, or only what a killed process left half-written."""
    for leftover in (*folder.path.glob(f".{SUMMARY}.*"), *folder.path.glob("tasks/.*")):
        leftover.unlink()
    if not resume:
        shutil.rmtree(folder.path / "tasks", ignore_errors=True)
        (folder.path / SUMMARY).unlink(missing_ok=True)


def _epoch(state: StreamState, task: Task, stream: Stream, config: ContinualConfig) -> None:
    """One epoch, and the evaluation that may be due in the middle of a task."""
    learning = config.learning
    if state.epoch == 0:
        state.probe.begin_task(state.learner.network, task)
        state.learner.begin_task(task)
    started = time.perf_counter()
    losses = state.learner.epoch(task, state.generator)
    state.epoch += 1
    row = {**_where(state, config), "split": "train", **losses}
    state.rows.append(row | {"seconds": round(time.perf_counter() - started, 4)})
    every = learning.evaluate_every
    if every and state.epoch % every == 0 and state.epoch < learning.epochs:
        probe = state.probe.measure(state.learner.network, task)
        state.rows.append({**_where(state, config), "split": "probe", **probe})
        seen = accuracies(state.learner, stream.tasks[: state.task + 1])
        state.rows.append(_test_row(state, seen, stream, config))


def _end_task(
    state: StreamState, task: Task, stream: Stream, config: ContinualConfig, folder: RunFolder
) -> None:
    """Remember what the methods need, test on every task, and keep the network."""
    state.learner.end_task(task, state.generator)
    probe = state.probe.measure(state.learner.network, task)
    state.rows.append({**_where(state, config), "split": "probe", **probe})
    if task.validation is not None:
        held_out = [each.validation for each in stream.tasks if each.validation is not None]
        state.validation.append([accuracy(state.learner, data) for data in held_out])
    state.matrix.append(accuracies(state.learner, stream.tasks))
    state.rows.append(_test_row(state, state.matrix[-1][: state.task + 1], stream, config))
    content = state_bytes(state.learner.network)
    atomic.write_bytes(folder.path / "tasks" / f"{state.task}.safetensors", content)
    state.task += 1
    state.epoch = 0


def _where(state: StreamState, config: ContinualConfig) -> dict[str, int]:
    epoch = state.task * config.learning.epochs + state.epoch
    return {"task": state.task, "task_epoch": state.epoch, "epoch": epoch}


def _test_row(
    state: StreamState, seen: Sequence[float], stream: Stream, config: ContinualConfig
) -> dict[str, Any]:
    """``accuracy`` is Val.Acc: on what was seen × the fraction of tasks seen."""
    samples = [len(task.test) for task in stream.tasks]
    row = [*seen, *[0.0] * (len(samples) - len(seen))]  # what is not seen yet does not count
    return {
        **_where(state, config),
        "split": "test",
        "accuracy": validation_accuracy(row, samples, len(seen)),
        "accuracies": list(seen),
    }


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


def _said(state: StreamState) -> str:
    tested = next((row for row in reversed(state.rows) if row["split"] == "test"), None)
    train = next(row for row in reversed(state.rows) if row["split"] == "train")
    words = f"task {train['task'] + 1}, loss {train['loss']:.3f}"
    return words if tested is None else f"{words}, Val.Acc {tested['accuracy']:.1%}"
