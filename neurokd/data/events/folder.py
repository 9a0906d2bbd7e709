"""A folder of your own recordings: one folder a class, one file a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurokd.data.events.frames import GRADED, Slicing
from neurokd.data.events.recording import READERS
from neurokd.data.events.recordings import Recordings
from neurokd.data.labelled import LabelledData

DEFAULT_STEPS = 10


def event_folder(
    folder: Path | str,
    sensor: tuple[int, int],
    steps: int | None = None,
    size: tuple[int, int] | None = None,
    slicing: Slicing = "time",
    largest: int = GRADED,
) -> LabelledData:
    """Frames of ``folder/<class>/<recording>``, the classes numbered in the order of their names.

    ``sensor`` is the camera's (height, width), ``size`` the frames', by default the same. Every
    format of `read_recording` may occur. The classes take turns, so that the first samples are of
    all of them.

    Shapes: x (N, T, 2, height, width).
    Raises: `FileFormatError` for a folder without recordings, and those of `Recordings.labelled`.
    """
    root = Path(folder)
    names = (
        sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    )
    found = []
    for number, name in enumerate(names):
        files = sorted(file for file in (root / name).iterdir() if file.suffix in READERS)
        found += [(place, number, file) for place, file in enumerate(files)]
    found.sort()
    classes = np.array([number for _, number, _ in found], dtype=np.int64)
    recordings = Recordings(
        root.name, root, tuple(file for *_, file in found), classes, sensor, size or sensor
    )
    return recordings.labelled(DEFAULT_STEPS if steps is None else steps, slicing, largest)
