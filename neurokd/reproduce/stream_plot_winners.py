"""Which neurons answer most often, sampling by sampling."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from neurokd.reproduce.stream_experiment import StreamExperiment
from neurokd.reproduce.stream_results import StreamDataResult
from neurokd.reproduce.stream_rows import ArmRows, Rows, mark_tasks, task_ends


def draw_winners(
    area: SubFigure, data: StreamDataResult, experiment: StreamExperiment, rows: ArmRows
) -> None:
    """A panel for each arm: the first order, and the first layer where there are several."""
    panels = area.subplots(1, len(experiment.arms), squeeze=False)[0]
    for panel, arm in zip(panels, experiment.arms, strict=True):
        by_seed = rows.get(arm.name, {})
        if 0 in by_seed:
            _panel(panel, by_seed[0])
            mark_tasks(panel, task_ends(by_seed))
        panel.set_title(arm.label, pad=14)
        panel.set_xlabel("epoch")
    panels[0].set_ylabel("neurons, in the order in which they first appear")


def _panel(panel: Axes, rows: Rows) -> None:
    """A cell for each sampling and each neuron that is ever among the k: darker is more often."""
    probed = [row for row in rows if row["split"] == "probe" and "top" in row]
    tops = [row["top"][0] for row in probed]
    if not tops:
        return
    neurons = list(dict.fromkeys(neuron for top in tops for neuron in top))
    k = len(tops[0])
    image = np.zeros((len(neurons), len(tops)))
    for at, top in enumerate(tops):
        for rank, neuron in enumerate(top):
            image[neurons.index(neuron), at] = (k - rank) / k
    ends = np.array([row["epoch"] for row in probed], dtype=np.float64)
    edges = np.concatenate([[0.0], ends])
    panel.pcolormesh(
        edges, np.arange(len(neurons) + 1), image, cmap="Blues", vmin=0, vmax=1, rasterized=True
    )
    panel.invert_yaxis()
    panel.annotate(
        f"{len(neurons):,} neurons are ever among the first {k}",
        (0.02, 0.03),  # where no neuron is: those below appear later
        xycoords="axes fraction",
        fontsize=8.5,
    )
