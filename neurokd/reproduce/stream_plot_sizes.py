"""Accuracy over the part of the neurons that is distilled."""

from __future__ import annotations

from matplotlib.figure import SubFigure
from matplotlib.ticker import FixedLocator, NullLocator

from neurokd.report.figure import BLUE, GREY, INK
from neurokd.reproduce.stream_experiment import StreamExperiment
from neurokd.reproduce.stream_results import StreamDataResult
from neurokd.reproduce.stream_rows import ArmRows


def draw_sizes(
    area: SubFigure, data: StreamDataResult, experiment: StreamExperiment, rows: ArmRows
) -> None:
    """The first quantity over the arms' number, which is a part of the neurons."""
    panel = area.subplots()
    known = [row for row in data.arms if row.main.mean is not None]
    shares = [row.arm.at[0] for row in known]
    means = [row.main.mean for row in known if row.main.mean is not None]
    panel.errorbar(
        shares,
        [mean.mean for mean in means],
        yerr=[mean.standard_error or 0.0 for mean in means],
        fmt="o-",
        color=BLUE,
        capsize=3,
    )
    for row in data.arms:
        (share,) = row.arm.at
        values = list(row.main.values.values())
        panel.plot([share * 1.06] * len(values), values, ".", color=BLUE, markersize=4, alpha=0.5)
        if row.main.published is not None:
            panel.plot(
                share, row.main.published, "D", markersize=6, markerfacecolor="none", color=INK
            )
    ticks = [row.arm.at[0] for row in data.arms]
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticklabels([f"{100 * tick:g} %" for tick in ticks])
    panel.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.6)
    panel.set_xlabel("n, part of the neurons that is distilled")
    panel.set_ylabel(experiment.quantities[0].label)
