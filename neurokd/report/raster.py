"""Spike raster of one sample: a panel a layer, neurons over chip steps."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from neurokd.report.figure import BLUE, Picture, axes, embed
from neurokd.report.inputs import Raster

ROWS = 160
"""Rows that a panel can show; more neurons than this share a row."""

_WHITE_TO_BLUE = LinearSegmentedColormap.from_list("white to blue", ["#ffffff", BLUE, "#00263d"])


def raster_panels(raster: Raster) -> list[Picture]:
    """One picture a population, in the order of the populations."""
    return [_panel(name, spikes) for name, spikes in raster.spikes.items()]


def shares(spikes: NDArray[np.bool_], rows: int = ROWS) -> tuple[NDArray[np.float64], int]:
    """The share of neurons of each row that spiked at each step, and how many neurons share a row.

    Shapes: (T, neurons) → (rows, T); the last row may stand for fewer neurons.
    """
    steps, neurons = spikes.shape
    together = -(-neurons // rows)
    edges = np.arange(0, neurons, together)
    sums = np.add.reduceat(spikes.astype(np.float64), edges, axis=1)
    sizes = np.diff(np.append(edges, neurons))
    return (sums / sizes).T, together


def _panel(name: str, spikes: NDArray[np.bool_]) -> Picture:
    steps, neurons = spikes.shape
    image, together = shares(spikes)
    total = int(spikes.sum())
    figure, panel = axes(2.6, width_inches=2.9)
    panel.imshow(
        image,
        aspect="auto",
        cmap=_WHITE_TO_BLUE,
        norm=PowerNorm(0.5, vmin=0, vmax=1),  # lets a row with one spike in twenty be seen
        interpolation="nearest",
        extent=(0.5, steps + 0.5, neurons - 0.5, -0.5),
    )
    for border in panel.spines.values():
        border.set_visible(True)
    panel.set_xlabel("chip step")
    panel.set_ylabel("neuron")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator("auto", integer=True))
    panel.set_xlim(0.5, steps + 0.5)
    row = "a row is one neuron" if together == 1 else f"a row is {together} neurons"
    said = f"{total:,} spikes, {row}" if total else "no spikes"
    return embed(
        figure,
        f"Spike raster of {name}: {neurons:,} neurons over {steps} chip steps, {said}.",
        f"{name}: {neurons:,} neurons, {said}",
    )
