"""The picture of a stream experiment: an area for each data set, drawn as the paper's figure is."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure, SubFigure

from neurokd.report.figure import GREY, style
from neurokd.reproduce.stream_experiment import Plot, StreamExperiment
from neurokd.reproduce.stream_grid import ORDERS
from neurokd.reproduce.stream_plot_alignment import draw_alignment
from neurokd.reproduce.stream_plot_arms import draw_arms
from neurokd.reproduce.stream_plot_lengths import draw_lengths
from neurokd.reproduce.stream_plot_sizes import draw_sizes
from neurokd.reproduce.stream_plot_surface import draw_surface
from neurokd.reproduce.stream_plot_tasks import draw_tasks
from neurokd.reproduce.stream_plot_winners import draw_winners
from neurokd.reproduce.stream_results import StreamDataResult, StreamResults
from neurokd.reproduce.stream_rows import ArmRows
from neurokd.reproduce.stream_tasks import read_rows
from neurokd.run import RunFolder

Draw = Callable[[SubFigure, StreamDataResult, StreamExperiment, ArmRows], None]


@dataclass(frozen=True)
class _Kind:
    """How a plot is drawn, how much room it takes, and what is said below it."""

    draw: Draw
    width_inches: float
    height_inches: float
    caption: str
    per_arm_inches: float = 0.0


_PAPER = ", ◇: the paper"
_SPREAD = f"dot: mean, bar: ± one standard error, small: single orders{_PAPER}"
_CURVES = "thick: mean over the orders of the classes, thin: single orders"
PLOTS: dict[Plot, _Kind] = {
    "arms": _Kind(draw_arms, 6.4, 1.1, _SPREAD, 0.36),
    "sizes": _Kind(draw_sizes, 6.4, 3.2, _SPREAD),
    "surface": _Kind(draw_surface, 9.0, 3.9, f"means over the orders of the classes{_PAPER}"),
    "winners": _Kind(draw_winners, 9.0, 4.2, "the classes as they are numbered"),
    "alignment": _Kind(draw_alignment, 6.8, 5.4, _CURVES),
    "lengths": _Kind(draw_lengths, 9.0, 3.2, _CURVES),
    "tasks": _Kind(draw_tasks, 9.0, 4.6, _CURVES),
}


def draw_streams(results: StreamResults, folders: Mapping[str, RunFolder]) -> bytes:
    """A PNG; ``folders`` are those of the finished runs, whose rows the curves are drawn from."""
    experiment = results.experiment
    kind = PLOTS[experiment.plot]
    height = kind.height_inches + kind.per_arm_inches * len(experiment.arms)
    with style():
        count = len(results.data)
        figure = Figure(figsize=(kind.width_inches, height * count + 0.3), layout="constrained")
        areas = figure.subfigures(count, 1, squeeze=False)
        for area, data in zip(areas[:, 0], results.data, strict=True):
            rows = _rows_of(data, experiment, folders, results.seeds)
            area.suptitle(data.data, x=0.01, ha="left", fontsize=10.5)
            kind.draw(area, data, experiment, rows)
        published = any(row.main.published is not None for d in results.data for row in d.arms)
        caption = kind.caption if published else kind.caption.replace(_PAPER, "")
        areas[-1, 0].supxlabel(caption, fontsize=8, color=GREY)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
        return buffer.getvalue()


def _rows_of(
    data: StreamDataResult,
    experiment: StreamExperiment,
    folders: Mapping[str, RunFolder],
    seeds: int,
) -> ArmRows:
    if experiment.plot in ("arms", "sizes", "surface"):
        return {}  # they are drawn from the table
    found: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for arm in experiment.arms:
        keys = {i: f"{data.data}-{arm.name}-{order}" for i, order in enumerate(ORDERS[:seeds])}
        found[arm.name] = {i: read_rows(folders[k]) for i, k in keys.items() if k in folders}
    return found
