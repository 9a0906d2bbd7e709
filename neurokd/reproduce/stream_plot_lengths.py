"""Training accuracy on the task that is being learned, in trainings of different lengths."""

from __future__ import annotations

from matplotlib.figure import SubFigure

from neurokd.report.figure import BLUE, GREY
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


def draw_lengths(
    area: SubFigure, data: StreamDataResult, experiment: StreamExperiment, rows: ArmRows
) -> None:
    """A panel for each arm; a curve begins anew with each task."""
    panels = area.subplots(1, len(experiment.arms), sharey=True, squeeze=False)[0]
    for panel, arm in zip(panels, experiment.arms, strict=True):
        by_seed = rows.get(arm.name, {})
        ends = task_ends(by_seed)
        for task in range(len(ends)):
            runs = of_task(by_seed, task)
            curves = [series(r, "train", lambda row: 100 * row["accuracy"]) for r in runs]
            draw_curves(panel, curves, BLUE)
        mark_tasks(panel, ends)
        length = f": {ends[0]:,} epochs a task" if ends else ""
        panel.set_title(arm.label + length, pad=14)
        panel.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.6)
        panel.set_xlabel("epoch")
    panels[0].set_ylabel("training accuracy (%)")
