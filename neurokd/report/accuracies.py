"""Accuracies of all runtimes with their intervals, against the tolerance."""

from __future__ import annotations

from neurokd.report.figure import BLUE, GREY, Picture, axes, embed
from neurokd.report.verdict_table import NAMES
from neurokd.report.wording import percent
from neurokd.verify.verdict import Verdict


def accuracy_figure(verdict: Verdict) -> Picture:
    """A dot and its 95 % interval a runtime; the band is the reference ± the tolerance."""
    names = [NAMES.get(row.backend, row.backend) for row in verdict.rows]
    figure, panel = axes(0.75 + 0.45 * len(names))
    reference = 100 * verdict.rows[0].accuracy
    tolerance = 100 * verdict.tolerance
    panel.axvspan(reference - tolerance, reference + tolerance, color=BLUE, alpha=0.13, lw=0)
    for at, row in enumerate(verdict.rows):
        low, high = (100 * end for end in row.interval)
        # Judged by identity, not by the band: drawn in grey.
        colour = GREY if row.backend == "lava" else BLUE
        panel.hlines(at, low, high, color=colour, linewidth=2.5, alpha=0.55)
        panel.plot(100 * row.accuracy, at, "o", color=colour, markersize=6)
        panel.annotate(
            f"{percent(row.accuracy)}, n = {row.samples:,}",
            (100 * row.accuracy, at),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.5, -0.75)
    panel.tick_params(axis="y", length=0)
    panel.margins(x=0.12)
    panel.set_xlabel("accuracy (%)")
    listed = ", ".join(
        f"{name} {percent(row.accuracy)}" for name, row in zip(names, verdict.rows, strict=True)
    )
    return embed(
        figure,
        f"Accuracies: {listed}.",
        "Accuracy of each runtime; lines are 95 % intervals of a single accuracy, the shaded band "
        "is the reference ± the tolerance. The comparison is paired, on the same samples, so that "
        "it is finer than the intervals.",
    )
