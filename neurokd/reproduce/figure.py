"""The table as a picture: every seed, and each arm's mean with its standard error."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neurokd.report.figure import BLUE, GREEN, GREY, ORANGE, style
from neurokd.reproduce.experiment import Experiment
from neurokd.reproduce.results import DataResult, Results

_WIDTH_INCHES = 6.0
_ROW_INCHES = 0.36


def draw(results: Results) -> bytes:
    """A PNG with a panel for each data set."""
    with style():
        rows = len(results.experiment.arms)
        height = (0.95 + _ROW_INCHES * rows) * len(results.data) + 0.35
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
        panels = figure.subplots(len(results.data), 1, squeeze=False)
        for panel, data in zip(panels[:, 0], results.data, strict=True):
            _panel(panel, data, results.experiment)
        panels[-1, 0].set_xlabel("test accuracy (%)")
        figure.supxlabel(
            "dot: mean, bar: ± one standard error, small: single seeds", fontsize=8, color=GREY
        )
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
        return buffer.getvalue()


def _panel(panel: Axes, data: DataResult, experiment: Experiment) -> None:
    colours = {experiment.baseline: GREY, experiment.proposed: ORANGE}
    if data.teacher:
        panel.axvline(data.teacher.mean, color=GREEN, linestyle="--", linewidth=1.2)
        panel.annotate(
            "teacher",
            (data.teacher.mean, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            color=GREEN,
            fontsize=8.5,
        )
    for at, row in enumerate(data.arms):
        if row.mean is None:
            continue
        colour = colours.get(row.arm.name, BLUE)
        values = list(row.percents.values())
        panel.plot(values, [at + 0.22] * len(values), ".", color=colour, markersize=4, alpha=0.6)
        error = row.mean.standard_error
        panel.errorbar(row.mean.mean, at, xerr=error, fmt="o", color=colour, capsize=3)
    panel.set_yticks(range(len(data.arms)), [row.arm.label for row in data.arms])
    panel.set_ylim(len(data.arms) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.margins(x=0.08)
    panel.set_title(data.data, pad=14)
