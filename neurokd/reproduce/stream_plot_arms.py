"""Arms as rows: every order, the mean with its standard error, and the paper's number."""

from __future__ import annotations

from matplotlib.figure import SubFigure

from neurokd.report.figure import BLUE, GREY, INK, ORANGE
from neurokd.reproduce.stream_experiment import StreamExperiment
from neurokd.reproduce.stream_results import StreamDataResult
from neurokd.reproduce.stream_rows import ArmRows


def draw_arms(
    area: SubFigure, data: StreamDataResult, experiment: StreamExperiment, rows: ArmRows
) -> None:
    """The first quantity of the experiment, an arm a row."""
    panel = area.subplots()
    colours = {experiment.baseline: GREY, experiment.proposed: ORANGE}
    for at, row in enumerate(data.arms):
        if row.main.published is not None:
            panel.plot(row.main.published, at, "D", markersize=6, markerfacecolor="none", color=INK)
        mean = row.main.mean
        if mean is None:
            continue
        colour = colours.get(row.arm.name, BLUE)
        values = list(row.main.values.values())
        panel.plot(values, [at + 0.24] * len(values), ".", color=colour, markersize=4, alpha=0.6)
        panel.errorbar(mean.mean, at, xerr=mean.standard_error, fmt="o", color=colour, capsize=3)
    panel.set_yticks(range(len(data.arms)), [row.arm.label for row in data.arms])
    panel.set_ylim(len(data.arms) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color=GREY, alpha=0.2, linewidth=0.6)
    panel.margins(x=0.08)
    panel.set_xlabel(experiment.quantities[0].label)
