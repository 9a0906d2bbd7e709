"""Figures: one look for all, drawn without a display and embedded as SVG data."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#AA4499"
GREY, INK = "#767676", "#222222"
"""Okabe and Ito's colours, which the colour-blind can tell apart."""

# One column of a phone is as wide as a figure, so that its text is not shrunk much there.
WIDTH_INCHES = 4.4
_STYLE: Any = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "neurokd",
}


@dataclass(frozen=True)
class Picture:
    """A figure for the page: its data URI, the text that stands for it, and its caption."""

    uri: str
    alt: str
    caption: str


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures, in force while they are drawn."""
    with matplotlib.rc_context(_STYLE):
        yield


def axes(height_inches: float, width_inches: float = WIDTH_INCHES) -> tuple[Figure, Axes]:
    """One pair of axes on a new figure that belongs to no window."""
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    return figure, figure.add_subplot()


def embed(figure: Figure, alt: str, caption: str) -> Picture:
    """The figure as SVG inside a data URI; images in it are drawn at 200 dots an inch."""
    buffer = io.BytesIO()
    # Without date and creator the same data give the same bytes.
    metadata = {"Date": None, "Creator": None}
    figure.savefig(buffer, format="svg", dpi=200, metadata=metadata)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/svg+xml;base64,{encoded}", alt, caption)


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """The positions, moved apart to be at least ``gap`` from each other, in the same order.

    Positions that collide form a group, which is centred on the mean of its members.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    groups: list[tuple[list[int], float]] = []
    for i in order:
        members, centre = [i], positions[i]
        while groups:
            before, middle = groups[-1]
            if centre - middle >= gap * (len(before) + len(members)) / 2:
                break
            groups.pop()
            members = before + members
            centre = sum(positions[j] for j in members) / len(members)
        groups.append((members, centre))
    moved = [0.0] * len(positions)
    for members, centre in groups:
        for rank, i in enumerate(members):
            moved[i] = centre + gap * (rank - (len(members) - 1) / 2)
    return moved
