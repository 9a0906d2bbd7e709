"""The figure of a deployed stream: accuracy, backward transfer and energy after each task."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from neurokd import atomic
from neurokd.report.figure import BLUE, GREEN, GREY, INK, ORANGE, style

_NETWORKS = {"float": (GREY, "float SDMLP"), "student": (ORANGE, "spiking student"),
             "deployed": (BLUE, "on the chip")}  # fmt: skip
_DOTS_AN_INCH = 160


def save_figure(summary: dict[str, Any], path: Path) -> Path:
    """Draw what deployment.json holds into a PNG, which appears complete or not at all."""
    with style():
        figure = draw(summary)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DOTS_AN_INCH, metadata={"Software": None})
    return atomic.write_bytes(path, buffer.getvalue())


def draw(summary: dict[str, Any]) -> Figure:
    """Three panels over the tasks, one above the other."""
    rows = summary["rows"]
    tasks = [row["task"] + 1 for row in rows]
    figure = Figure(figsize=(5.2, 7.2), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    for name, (colour, label) in _NETWORKS.items():
        values = [100 * float(np.mean(row[name])) for row in rows]
        top.plot(tasks, values, "o-", color=colour, label=label, markersize=4)
        transfer = [100 * value for value in running_transfer([row[name] for row in rows])]
        middle.plot(tasks[1:], transfer, "o-", color=colour, label=label, markersize=4)
    top.set_ylabel("accuracy (%)")
    top.set_title("Mean accuracy on the tasks seen so far")
    top.legend(frameon=False)
    middle.axhline(0, color=INK, linewidth=0.6)
    middle.set_ylabel("BWT (points)")
    middle.set_title("Backward transfer up to each task")
    _energy(bottom, tasks, rows)
    bottom.set_xlabel("task")
    bottom.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return figure


def running_transfer(rows: Sequence[Sequence[float]]) -> list[float]:
    """BWT after each task but the first, as if the stream ended there.

    Equation: 1/i · Σ_{j < i} (R[i, j] − R[j, j]), tasks counted from 0.
    """
    return [
        float(np.mean([row[j] - rows[j][j] for j in range(i)])) for i, row in enumerate(rows) if i
    ]


def _energy(panel: Axes, tasks: list[int], rows: list[dict[str, Any]]) -> None:
    for key, colour, label in (
        ("dense_dynamic_pj", GREY, "dense MLP, counted"),
        ("dynamic_pj", BLUE, "deployed, measured"),
        ("energy_pj", GREEN, "the same, with static power"),
    ):
        bands = [row["cost"][key] for row in rows]
        nominal = [1e-6 * band["nominal"] for band in bands]
        panel.plot(tasks, nominal, "o-", color=colour, label=label, markersize=4)
        low, high = ([1e-6 * band[end] for band in bands] for end in ("low", "high"))
        panel.fill_between(tasks, low, high, color=colour, alpha=0.12, linewidth=0)
    panel.set_yscale("log")
    panel.set_ylabel("µJ a sample")
    panel.set_title("Energy on Loihi 2: estimated, the bands say how well")
    panel.legend(frameon=False, fontsize=8)
