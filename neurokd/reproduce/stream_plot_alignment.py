"""Cosine, Jaccard and KL over the epochs of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from matplotlib.figure import SubFigure

from neurokd.report.figure import BLUE, GREEN, GREY, ORANGE
from neurokd.reproduce.stream_experiment import StreamExperiment
from neurokd.reproduce.stream_results import StreamDataResult
from neurokd.reproduce.stream_rows import (
    ArmRows,
    draw_curves,
    mark_tasks,
    of_task,
    series,
    task_ends,
)

_CURVES = (
    ("cosine", "cosine to the teacher", BLUE),
    ("jaccard", "Jaccard of the top k", GREEN),
    ("kl", "KL(teacher‖student)", ORANGE),
)


def draw_alignment(
    area: SubFigure, data: StreamDataResult, experiment: StreamExperiment, rows: ArmRows
) -> None:
    """Three panels below each other, of the first arm; dashed is the paper's limit."""
    panels = area.subplots(len(_CURVES), 1, sharex=True)
    by_seed = rows.get(experiment.arms[0].name, {})
    limits = {
        each.quantity.key: (each.published, each.quantity.bound) for each in data.arms[0].measured
    }
    for panel, (name, label, colour) in zip(panels, _CURVES, strict=True):
        ends = task_ends(by_seed)
        for task in range(len(ends)):
            runs = of_task(by_seed, task)
            draw_curves(panel, [series(r, "probe", partial(_number, name)) for r in runs], colour)
        mark_tasks(panel, ends, named=panel is panels[0])
        limit, bound = limits.get(f"probe.{name}", (None, ""))
        if limit is not None:
            panel.axhline(limit, color=GREY, linestyle="--", linewidth=1)
            panel.annotate(
                f"the paper: {bound} {limit:g}",
                (0.0, limit),
                xycoords=("axes fraction", "data"),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=GREY,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
        panel.set_ylabel(label)
        if name != "kl":
            panel.set_ylim(bottom=min(0.7, panel.get_ylim()[0]), top=1.02)
    panels[-1].set_ylim(bottom=0)
    panels[-1].set_xlabel("epoch")
    area.align_ylabels(list(panels))


def _number(name: str, row: Mapping[str, Any]) -> float | None:
    found = row.get(name)
    return None if found is None else float(found)
