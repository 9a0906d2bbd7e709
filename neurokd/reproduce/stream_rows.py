"""Curves out of the rows of ``metrics.jsonl``, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from neurokd.report.figure import GREY

Rows = Sequence[Mapping[str, Any]]
ArmRows = Mapping[str, Mapping[int, Rows]]
"""Rows by arm and seed."""
Points = list[tuple[float, float]]


def series(rows: Rows, split: str, value: Callable[[Mapping[str, Any]], float | None]) -> Points:
    """(epoch of the whole stream, value) of the rows of a split that have one."""
    found = ((row["epoch"], value(row)) for row in rows if row["split"] == split)
    return [(float(epoch), v) for epoch, v in found if v is not None]


def task_ends(by_seed: Mapping[int, Rows]) -> list[int]:
    """The epoch after which each task ended; the same in all runs of an arm."""
    ends: dict[int, int] = {}
    for row in next(iter(by_seed.values()), ()):
        ends[row["task"]] = max(row["epoch"], ends.get(row["task"], 0))
    return [ends[task] for task in sorted(ends)]


def of_task(by_seed: Mapping[int, Rows], task: int) -> list[Rows]:
    """The rows of each run that belong to a task: curves that begin anew with it."""
    return [[row for row in run if row["task"] == task] for run in by_seed.values()]


def draw_curves(panel: Axes, curves: Sequence[Points], colour: str | Any) -> None:
    """Each curve thin, and their mean thick where there are several."""
    curves = [curve for curve in curves if curve]
    if not curves:
        return
    alone = len(curves) == 1
    for curve in curves:
        xs, ys = _columns(curve)
        panel.plot(xs, ys, color=colour, linewidth=1.6 if alone else 0.6, alpha=1 if alone else 0.4)
    if not alone:
        shared = sorted(set.intersection(*({x for x, _ in curve} for curve in curves)))
        values = [dict(curve) for curve in curves]
        mean = [float(np.mean([of_run[x] for of_run in values])) for x in shared]
        panel.plot(shared, mean, color=colour, linewidth=1.8)
    if all(len(curve) == 1 for curve in curves):  # a line of one point is none
        panel.plot(*_columns([curve[0] for curve in curves]), "o", color=colour, markersize=4)


def mark_tasks(panel: Axes, ends: Sequence[int], *, named: bool = True) -> None:
    """Fine lines between the tasks, and their names above."""
    begin = 0
    for task, end in enumerate(ends):
        if task:
            panel.axvline(begin, color=GREY, linewidth=0.6, alpha=0.5, zorder=0)
        if named and len(ends) <= 10:
            panel.annotate(
                f"task {task}",
                ((begin + end) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=GREY,
            )
        begin = end
    panel.set_xlim(0, max(ends, default=1))
    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _columns(points: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    array = np.asarray(points, dtype=np.float64)
    return array[:, 0], array[:, 1]
