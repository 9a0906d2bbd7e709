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

_NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "float": ("float SDMLP", {"color": GREY, "linestyle": "--", "marker": "o", "markersize": 3}),
    # behind the deployed network, which is to lie on it
    "student": ("spiking student", {"color": ORANGE, "linewidth": 4.5, "alpha": 0.6}),
    "deployed": ("on the chip", {"color": BLUE, "marker": "o", "markersize": 3}),
}
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
    for name, (label, look) in _NETWORKS.items():
        values = [100 * float(np.mean(row[name])) for row in rows]
        top.plot(tasks, values, label=label, **look)
        transfer = [100 * value for value in running_transfer([row[name] for row in rows])]
        middle.plot(tasks[1:], transfer, **look)
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
    """Each energy as a dot with its band, side by side."""
    for shift, key, colour, label in (
        (-0.12, "dense_dynamic_pj", GREY, "dense MLP, operations counted"),
        (0.0, "energy_pj", GREEN, "on the chip, with static power"),
        (0.12, "dynamic_pj", BLUE, "on the chip, operations alone"),
    ):
        bands = [row["cost"][key] for row in rows]
        low, nominal, high = (
            np.array([1e-6 * band[end] for band in bands]) for end in ("low", "nominal", "high")
        )
        panel.errorbar(
            [task + shift for task in tasks],
            nominal,
            yerr=[nominal - low, high - nominal],
            fmt="o",
            color=colour,
            label=label,
            markersize=4,
            linewidth=1,
            capsize=2,
        )
    panel.set_yscale("log")
    panel.set_ylabel("µJ a sample")
    panel.set_title("Energy on Loihi 2, an estimate: low, nominal, high")
    panel.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.25))
