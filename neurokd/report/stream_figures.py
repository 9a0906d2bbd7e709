"""Figures of a stream: the matrix of accuracies, each task's fate, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from neurokd.report.figure import BLUE, GREY, INK, ORANGE, Picture, axes, embed, spread
from neurokd.report.stream_inputs import Line, Summary
from neurokd.report.wording import number, percent

_NUMBERED = 10
"""Tasks up to which the cells of the matrix carry their number."""
_NAMED = 6
"""Tasks up to which each line carries its name; more of them are a bundle of grey lines."""
_LABEL_GAP = 0.075
_SHADES = LinearSegmentedColormap.from_list("accuracy", ["#f4f4f4", BLUE])


def matrix_figure(summary: Summary) -> Picture:
    """R as a heat map; what was not yet learned when it was tested is left white."""
    count = len(summary.tasks)
    matrix = 100 * np.array(summary.matrix)
    learned = np.ma.array(matrix, mask=np.triu(np.ones_like(matrix, dtype=bool), k=1))
    figure, panel = axes(3.9)
    shown = panel.imshow(learned, cmap=_SHADES, vmin=0, vmax=100)
    if count <= _NUMBERED:
        for i in range(count):
            for j in range(i + 1):
                ink = "white" if matrix[i, j] > 60 else INK
                text = f"{matrix[i, j]:.0f}"
                panel.text(j, i, text, ha="center", va="center", color=ink, fontsize=9)
        names = [",".join(map(str, t)) if len(t) < 4 else f"{i + 1}" for i, t in _tasks(summary)]
        panel.set_xticks(range(count), names)
        panel.set_yticks(range(count), [str(i + 1) for i in range(count)])
    panel.set_xlabel("classes of the task")
    panel.set_ylabel("after learning task")
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    figure.colorbar(shown, ax=panel, shrink=0.8, label="accuracy (%)")
    last = ", ".join(percent(value, 1) for value in summary.matrix[-1])
    return embed(
        figure,
        f"Accuracy on each task after each task. After the last: {last}.",
        "Test accuracy on each task (column) after each task was learned (row). The diagonal is "
        "what was just learned; down a column is what is left of it.",
    )


def fate_figure(summary: Summary, lines: Sequence[Line]) -> Picture:
    """Accuracy on each task after this and every later one, and Val.Acc."""
    count = len(summary.tasks)
    matrix = 100 * np.array(summary.matrix)
    figure, panel = axes(3.4)
    ends = []
    for j in range(count):
        x = np.arange(j, count) + 1
        panel.plot(x, matrix[j:, j], ".-", color=GREY, linewidth=1.2, zorder=2)
        ends.append((f"task {j + 1}", float(matrix[-1, j]), GREY))
    tested = {line.task: line.accuracy for line in lines if line.split == "test"}
    val_acc = [(task + 1, 100 * value) for task, value in tested.items() if value is not None]
    if val_acc:
        panel.plot(*zip(*val_acc, strict=True), "o-", color=BLUE, markersize=4, zorder=3)
        ends.append(("Val.Acc", val_acc[-1][1], BLUE))
    panel.set_ylim(-3, 103)
    panel.set_xlabel("tasks learned")
    panel.set_ylabel("accuracy (%)")
    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if count <= _NAMED:
        for (name, _, colour), height in zip(
            ends, spread([(end + 3) / 106 for _, end, _ in ends], _LABEL_GAP), strict=True
        ):
            panel.text(1.03, height, name, color=colour, transform=panel.transAxes, va="center")
    return embed(
        figure,
        f"Accuracy on each task as more are learned; Val.Acc ends at {percent(summary.val_acc)}.",
        "Grey: test accuracy on each task, from when it was learned on. Blue: Val.Acc, the "
        "accuracy on what was seen times the part of the tasks that was seen.",
    )


def loss_figure(lines: Sequence[Line]) -> Picture | None:
    """The training loss of every epoch, with a rule where a task begins."""
    train = [line for line in lines if line.split == "train" and line.loss is not None]
    if not train:
        return None
    figure, panel = axes(2.6)
    starts = [b.epoch - 0.5 for a, b in zip(train, train[1:], strict=False) if a.task != b.task]
    for start in starts if len(starts) <= 3 * _NUMBERED else ():
        panel.axvline(start, color=GREY, linewidth=0.6, alpha=0.6)
    values = [float(line.loss or 0.0) for line in train]
    marker = "." if len(train) == 1 else None
    panel.plot([line.epoch for line in train], values, color=ORANGE, marker=marker, linewidth=1.2)
    if min(values) > 0 and max(values) > 20 * min(values):
        panel.set_yscale("log")
    panel.set_xlabel("epoch")
    panel.set_ylabel("training loss")
    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return embed(
        figure,
        f"Training loss by epoch; at the end {number(values[-1])}.",
        "Training loss by epoch, all terms together; rules are where a task begins.",
    )


def deployment_figure(deployment: dict[str, Any]) -> Picture:
    """Accuracy, BWT and energy of the deployed network after each task."""
    from neurokd.continual.spiking.figure import draw

    return embed(
        draw(deployment),
        "Accuracy, backward transfer and energy of the spiking student after each task.",
        "The spiking student after each task: float network, student and integer network on the "
        "tasks seen so far, and what a sample costs on the chip.",
    )


def _tasks(summary: Summary) -> list[tuple[int, tuple[int, ...]]]:
    return list(enumerate(summary.tasks))
