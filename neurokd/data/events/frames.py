"""Frames: the events of a recording, counted by step, polarity and pixel."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurokd.data.events.recording import Recording
from neurokd.errors import UsageError

Slicing: TypeAlias = Literal["time", "count"]
POLARITIES = 2
GRADED = 255
"""The largest count that a graded spike of 8 bits can carry."""
BINARY = 1
"""Frames of 0 and 1, for a chip without graded spikes."""


def event_frames(
    recording: Recording,
    steps: int,
    size: tuple[int, int] | None = None,
    slicing: Slicing = "time",
) -> NDArray[np.int64]:
    """How many events each pixel had in each step: polarity is the channel, off before on.

    Equation: an event at time t, of w = max(1, (t_last − t_first) // T), is in step
    min((t − t_first) // w, T − 1); with ``slicing`` "count" event i of n is in step i T // n. At
    another ``size`` (height, width) the event at row y of H is in row y height // H, columns alike,
    so that no event is lost or split.

    Shapes: → (T, 2, H, W). Units: none, times only have to grow.
    Raises: `UsageError`.
    """
    height, width = size or recording.sensor
    if steps < 1 or not (1 <= height <= recording.sensor[0] and 1 <= width <= recording.sensor[1]):
        raise UsageError(
            "such frames cannot be made",
            where=recording.where,
            expected=f"steps ≥ 1 and a size within {recording.sensor}",
            found=f"{steps} steps of {(height, width)}",
        )
    step = _by_time(recording.t, steps) if slicing == "time" else _by_count(recording.t, steps)
    row = recording.y * height // recording.sensor[0]
    column = recording.x * width // recording.sensor[1]
    place = ((step * POLARITIES + recording.p) * height + row) * width + column
    counts = np.bincount(place, minlength=steps * POLARITIES * height * width)
    return counts.astype(np.int64, copy=False).reshape(steps, POLARITIES, height, width)


def saturated(counts: NDArray[np.int64], largest: int = GRADED) -> tuple[NDArray[np.uint8], int]:
    """Counts up to ``largest`` (at most 255) as 8 bits, and how many events that left out.

    Shapes: (T, 2, H, W) → the same.
    """
    kept = np.minimum(counts, largest).astype(np.uint8)
    return kept, int(counts.sum() - kept.sum(dtype=np.int64))


def _by_time(t: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """The step of each event where all steps last equally long; the last takes what is left."""
    if not len(t):
        return t
    first = int(t.min())
    width = max(1, (int(t.max()) - first) // steps)
    return np.minimum((t - first) // width, steps - 1)


def _by_count(t: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """The step of each event where all steps have equally many."""
    order = np.argsort(t, kind="stable")
    step = np.empty(len(t), dtype=np.int64)
    step[order] = np.arange(len(t)) * steps // max(len(t), 1)
    return step
