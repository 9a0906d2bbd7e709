"""The spiking student of a whole stream: trained, deployed and measured after each task."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurokd import atomic
from neurokd.config.continual import ContinualConfig
from neurokd.continual.load_stream import load_stream
from neurokd.continual.metrics.backward_transfer import backward_transfer
from neurokd.continual.spiking.deploy import cost, deploy, measure
from neurokd.continual.spiking.deployed_data import require_spiking, task_in_messages
from neurokd.continual.spiking.figure import save_figure
from neurokd.continual.spiking.load_spiking import (
    FOLDER,
    read_sdmlp,
    read_student,
)
from neurokd.continual.spiking.train_student import train_student
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import FileFormatError
from neurokd.models.sdmlp import SDMLP
from neurokd.models.spiking_sdmlp import SpikingSDMLP
from neurokd.run import RunFolder, state_bytes

FORMAT = "neurokd.spiking/1"
SUMMARY = "deployment.json"
FIGURE = "deployment.png"
NETWORKS = ("float", "student", "deployed")

Progress = Callable[[int, int, str], None]
"""Called with (tasks done, tasks in all, what the last one gave)."""


def spike_stream(
    run: RunFolder,
    config: ContinualConfig,
    progress: Progress | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train and deploy a spiking student after each task of a stream that has been learned.

    For each network of RUN/tasks: the student (`train_student`), its integer network, and on test
    samples of all tasks seen so far the accuracies of float network, student and deployed network,
    winners, energy, synaptic operations and latency. Every student sees samples of its own task
    only. RUN/spiking gets tasks/<i>.safetensors and tasks/<i>.json, then model.safetensors,
    deployment.json, which is returned, and deployment.png.

    Tasks that are complete are not done again with ``resume``; the result has the same bits.
    Raises: `FileFormatError` for a stream that is not complete; as `train_student` and `lower`.
    """
    require_spiking(config, "spike_stream")
    folder = run.path / FOLDER
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    stream = load_stream(config)
    tasks = [task_in_messages(task) for task in stream.tasks]
    rows: list[dict[str, Any]] = []
    previous: tuple[SpikingSDMLP, Task] | None = None
    for index, task in enumerate(tasks):
        source = run.path / "tasks" / f"{index}.safetensors"
        sdmlp = read_sdmlp(source, config, stream.sample_shape, stream.classes)
        weights = folder / "tasks" / f"{index}.safetensors"
        origin = _origin(config, source, rows)
        row = _finished(weights, origin)
        if row is None:
            generator = torch.Generator().manual_seed(config.seed)
            student = train_student(sdmlp, config, task, previous, generator)
            atomic.write_bytes(weights, state_bytes(student))
            row = _measured(sdmlp, student, tasks[: index + 1], config)
            row |= {"origin": origin, "weights": _digest(weights)}
            _write(weights.with_suffix(".json"), row)
        rows.append(row)
        previous = (read_student(weights, config), task)
        if progress is not None:
            progress(len(rows), len(tasks), f"deployed {100 * _mean(row['deployed']):.1f} %")
    assert previous is not None  # a stream has a task
    atomic.write_bytes(folder / "model.safetensors", state_bytes(previous[0]))
    summary = summarise(rows, config)
    save_figure(summary, folder / FIGURE)
    _write(folder / SUMMARY, summary)
    return summary


def summarise(rows: Sequence[dict[str, Any]], config: ContinualConfig) -> dict[str, Any]:
    """What deployment.json holds: a row for each task, and what follows from all of them.

    BWT of several tasks is that of each network; a row lists the tasks seen so far only.
    """
    settings = require_spiking(config, SUMMARY)
    count = len(rows)
    matrices = {
        name: [[*row[name], *[0.0] * (count - len(row[name]))] for row in rows] for name in NETWORKS
    }
    bwt = {name: backward_transfer(rows) for name, rows in matrices.items()} if count > 1 else None
    kept = [{k: v for k, v in row.items() if k not in ("origin", "weights")} for row in rows]
    return {
        "format": FORMAT,
        "k": config.network.k,
        "steps": settings.steps,
        "rows": kept,
        "accuracy": {name: _mean(rows[-1][name]) for name in NETWORKS},
        "bwt": bwt,
    }


def _measured(
    sdmlp: SDMLP, student: SpikingSDMLP, tasks: Sequence[Task], config: ContinualConfig
) -> dict[str, Any]:
    """Accuracies on each task seen so far, and what a sample of them costs."""
    settings = require_spiking(config, SUMMARY)
    net = deploy(student, tasks[-1].train)
    row: dict[str, Any] = {"task": tasks[-1].index, "classes": list(tasks[-1].classes)}
    row |= {name: [] for name in NETWORKS}
    runs, winners, agreed = [], [], []
    for task in tasks:
        data = task.test.first(settings.samples)
        found = measure(net, data)
        spiking = _classes(student.pulse, data)
        row["float"].append(_right(_classes(sdmlp, data), data))
        row["student"].append(_right(spiking, data))
        row["deployed"].append(_right(found.classes, data))
        agreed.append(spiking == found.classes)
        winners.append(found.winners)
        runs.append(found)
    every = np.concatenate(winners)
    return {
        **row,
        "agreement": float(np.concatenate(agreed).mean()),
        "winners": [float(each.mean()) for each in winners],
        "mean_winners": float(every.mean()),
        "without_winner": float((every == 0).mean()),
        "overflows": sum(len(each.run.overflows) for each in runs),
        "cost": cost(net, runs).to_dict(),
    }


@torch.no_grad()
def _classes(network: nn.Module, data: LabelledData) -> Any:
    return network(torch.from_numpy(data.x)).argmax(dim=1).numpy()


def _right(classes: Any, data: LabelledData) -> float:
    return float((classes == data.y).mean())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _origin(config: ContinualConfig, source: Path, rows: Sequence[dict[str, Any]]) -> str:
    """What a task's result depends on: configuration, float weights, and the student before."""
    before = rows[-1]["weights"] if rows else ""
    settings = config.model_dump_json()
    return hashlib.sha256(f"{settings} {_digest(source)} {before}".encode()).hexdigest()


def _finished(weights: Path, origin: str) -> dict[str, Any] | None:
    """The row of a task that is complete and of the same origin; else None, and it is done anew."""
    file = weights.with_suffix(".json")
    if not file.is_file() or not weights.is_file():
        return None
    try:
        row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        same = row["origin"] == origin and row["weights"] == _digest(weights)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FileFormatError(
            "this is not the row of a task",
            where=str(file),
            found=f"{type(error).__name__}: {error}",
            remedy="remove it, or start without --resume",
        ) from error
    return row if same else None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write(file: Path, content: dict[str, Any]) -> None:
    atomic.write_text(file, json.dumps(content, indent=1) + "\n")
