"""Test accuracy on each task, and on all, while the stream is learned."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from neurokd.report.figure import BLUE, GREY, ORANGE
from neurokd.reproduce.stream_experiment import StreamExperiment
from neurokd.reproduce.stream_results import StreamDataResult
from neurokd.reproduce.stream_rows import ArmRows, Rows, draw_curves, mark_tasks, series, task_ends

_PANELS = 5
"""Tasks that have a panel each; more of them share one."""


def draw_tasks(
    area: SubFigure, data: StreamDataResult, experiment: StreamExperiment, rows: ArmRows
) -> None:
    """The first arm: Val.Acc first, then the tasks; where each was learned is shaded."""
    by_seed = rows.get(experiment.arms[0].name, {})
    ends = task_ends(by_seed)
    apart = len(ends) <= _PANELS
    shape = (2, 3) if apart else (1, 2)
    panels = area.subplots(*shape, sharex=True, squeeze=False).ravel()
    whole, *others = panels
    whole_curves = [
        series(run, "test", lambda row: 100 * row["accuracy"]) for run in by_seed.values()
    ]
    draw_curves(whole, whole_curves, ORANGE)
    mark_tasks(whole, ends, named=False)
    whole.set_title("Val.Acc")
    mean = data.arms[0].main.mean
    if mean is not None:
        whole.annotate(
            f"{mean.mean:.1f}",
            (1, mean.mean),
            xycoords=("axes fraction", "data"),
            xytext=(2, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=ORANGE,
        )
    if apart:
        for task, panel in enumerate(others):
            panel.set_visible(task < len(ends))
            if task < len(ends):
                _task(panel, task, ends, by_seed, BLUE)
                panel.set_title(f"task {task}")
    elif ends:
        colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(ends)))
        for task, colour in enumerate(colours):
            draw_curves(others[0], _curves(by_seed, task)[:1], colour)
        mark_tasks(others[0], ends, named=False)
        others[0].set_title("tasks, the first dark, the last bright (first order)")
    for panel in panels:
        panel.set_ylim(0, 102)
        panel.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.6)
    for panel in panels[-shape[1] :]:
        panel.set_xlabel("epoch")
    for panel in panels[:: shape[1]]:
        panel.set_ylabel("test accuracy (%)")


def _task(
    panel: Axes, task: int, ends: list[int], by_seed: Mapping[int, Rows], colour: str
) -> None:
    draw_curves(panel, _curves(by_seed, task), colour)
    mark_tasks(panel, ends, named=False)
    panel.axvspan(ends[task - 1] if task else 0, ends[task], color=colour, alpha=0.08, linewidth=0)


def _curves(by_seed: Mapping[int, Rows], task: int) -> list[list[tuple[float, float]]]:
    return [series(run, "test", partial(_accuracy_on, task)) for run in by_seed.values()]


def _accuracy_on(task: int, row: Mapping[str, Any]) -> float | None:
    seen = row["accuracies"]
    return 100 * seen[task] if task < len(seen) else None
