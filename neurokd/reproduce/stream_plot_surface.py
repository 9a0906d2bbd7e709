"""Accuracy over α and τ: a surface, and a line for each τ."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import SubFigure

from neurokd.report.figure import GREY, INK
from neurokd.reproduce.stream_experiment import StreamExperiment
from neurokd.reproduce.stream_results import StreamDataResult
from neurokd.reproduce.stream_rows import ArmRows


def draw_surface(
    area: SubFigure, data: StreamDataResult, experiment: StreamExperiment, rows: ArmRows
) -> None:
    """The arms' two numbers are α and τ; an arm without a result leaves a gap."""
    alphas = sorted({row.arm.at[0] for row in data.arms})
    temperatures = sorted({row.arm.at[1] for row in data.arms})
    height = np.full((len(temperatures), len(alphas)), np.nan)
    error = np.zeros_like(height)
    for row in data.arms:
        if row.main.mean is not None:
            place = temperatures.index(row.arm.at[1]), alphas.index(row.arm.at[0])
            height[place] = row.main.mean.mean
            error[place] = row.main.mean.standard_error or 0.0
    left, right = area.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.05))[0]
    if np.isfinite(height).all():
        solid = left.add_subplot(projection="3d")
        _solid(solid, alphas, temperatures, height, experiment.quantities[0].label)
    panel = right.subplots()
    colours = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.85, len(temperatures)))
    for at, (temperature, colour) in enumerate(zip(temperatures, colours, strict=True)):
        of_line, errors = height[at], error[at]
        aside = 0.012 * (at - (len(temperatures) - 1) / 2)  # so that no bar hides another
        panel.errorbar(
            [alpha + aside for alpha in alphas],
            of_line,
            yerr=errors,
            fmt="o-",
            color=colour,
            capsize=2,
            markersize=4,
            linewidth=1.5,
            label=f"τ = {temperature:g}",
        )
    for row in data.arms:
        if row.main.published is not None:
            panel.plot(
                row.arm.at[0],
                row.main.published,
                "D",
                markersize=6,
                markerfacecolor="none",
                color=INK,
            )
    panel.set_xticks(alphas)
    panel.set_xlabel("α, weight of the labels")
    panel.set_ylabel(experiment.quantities[0].label)
    panel.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.6)
    panel.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _solid(
    panel: Any, alphas: list[float], temperatures: list[float], height: Any, label: str
) -> None:
    x, y = np.meshgrid(alphas, temperatures)
    panel.plot_surface(x, y, height, cmap="viridis", edgecolor="white", linewidth=0.4, alpha=0.95)
    panel.set_xticks(alphas)
    panel.set_yticks(temperatures)
    panel.set_xlabel("α")
    panel.set_ylabel("τ")
    panel.set_zlabel(label)
    panel.tick_params(labelsize=8)
    panel.view_init(elev=28, azim=-125)
    panel.set_box_aspect(None, zoom=0.86)
