"""Training curves: accuracy of teacher and students, and the terms of the student's loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from neurokd.report.figure import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    Picture,
    axes,
    embed,
    spread,
)
from neurokd.report.metrics import TERMS, Metrics
from neurokd.report.wording import number, percent, points

_TERM_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
COLOURS = {"teacher": GREY, "student": BLUE, "without distillation": ORANGE}
_LABEL_GAP = 0.075
"""Least distance of two labels, as a fraction of the axes' height."""


@dataclass(frozen=True)
class _Curve:
    name: str
    colour: str
    points: list[tuple[int, float]]
    style: str = "-"


def accuracy_curves(runs: Mapping[str, Metrics]) -> Picture | None:
    """Training accuracy of every run over its epochs, and its test accuracy as dots."""
    curves = [
        _Curve(name, COLOURS[name], [(e, 100 * a) for e, a in metrics.series("train", "accuracy")])
        for name, metrics in runs.items()
    ]
    curves += [
        _Curve(f"{name}, validation", COLOURS[name], [(e, 100 * a) for e, a in held_out], ":")
        for name, metrics in runs.items()
        if (held_out := metrics.series("validation", "accuracy"))
    ]
    curves = [curve for curve in curves if curve.points]
    tests = {
        name: [(e, 100 * a) for e, a in metrics.series("test", "accuracy")]
        for name, metrics in runs.items()
    }
    if not curves and not any(tests.values()):
        return None
    figure, panel = axes(3.0)
    for name, dots in tests.items():
        if dots:
            panel.plot(*zip(*dots, strict=True), "o", color=COLOURS[name], markersize=5, zorder=3)
    _draw(panel, curves)
    panel.set_ylabel("accuracy (%)")
    final = "; ".join(
        f"{name} {percent(value)}"
        for name, metrics in runs.items()
        if (value := metrics.last("test", "accuracy")) is not None
    )
    return embed(
        figure,
        f"Accuracy over the epochs. Test accuracy at the end: {final or 'not measured'}.",
        "Accuracy by epoch. Lines: training images, augmented as they were trained on; "
        "dotted: images held out of the training. Dots: test images.",
    )


def loss_curves(metrics: Metrics, role: str = "student") -> Picture | None:
    """The terms of a student's or a teacher's training loss over the epochs."""
    curves = [
        _Curve(label, colour, series)
        for (name, label), colour in zip(TERMS.items(), _TERM_COLOURS, strict=True)
        if (series := metrics.series("train", name))
    ]
    total = metrics.series("train", "loss")
    if total and len(curves) != 1:
        curves.append(_Curve("loss", INK, total, "--"))
    if not curves:
        return None
    figure, panel = axes(3.0)
    values = [value for curve in curves for _, value in curve.points]
    if min(values) > 0 and max(values) > 20 * min(values):
        panel.set_yscale("log")
    _draw(panel, curves)
    panel.set_ylabel("training loss")
    last = ", ".join(f"{curve.name} {number(curve.points[-1][1])}" for curve in curves)
    return embed(
        figure,
        f"Terms of the {role}'s training loss over the epochs; at the end: {last}.",
        f"The {role}'s training loss and its terms by epoch, each as weighted in the sum.",
    )


def gain(runs: Mapping[str, Metrics]) -> str | None:
    """What distillation gave, whichever way it came out; None unless both students were tested."""
    with_it, without = (
        runs[name].last("test", "accuracy") if name in runs else None
        for name in ("student", "without distillation")
    )
    if with_it is None or without is None:
        return None
    difference = points(with_it - without)
    said = "the same" if difference == "equal" else difference
    return (
        f"The distilled student's test accuracy is {percent(with_it)}; the same student trained "
        f"without distillation reaches {percent(without)}. With distillation it is {said}."
    )


def _draw(panel: Axes, curves: list[_Curve]) -> None:
    """Lines that carry their name at their right end, in place of a legend."""
    for curve in curves:
        xs, ys = zip(*curve.points, strict=True)
        panel.plot(
            xs, ys, curve.style, color=curve.colour, marker="." if len(xs) == 1 else None, zorder=2
        )
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    panel.autoscale_view()  # matplotlib would do it later, and the limits are needed now
    to_axes = panel.transData + panel.transAxes.inverted()
    ends = [curve.points[-1] for curve in curves]
    heights = spread([float(to_axes.transform(end)[1]) for end in ends], _LABEL_GAP)
    for curve, height in zip(curves, heights, strict=True):
        panel.text(
            1.03,
            height,
            curve.name,
            color=curve.colour,
            transform=panel.transAxes,
            va="center",
        )
