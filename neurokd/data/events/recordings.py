"""`Recordings`: the files of an event data set, and their frames as `LabelledData`."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurokd.data.events.frame_cache import cached
from neurokd.data.events.frames import GRADED, POLARITIES, Slicing, event_frames, saturated
from neurokd.data.events.recording import READERS, read_recording
from neurokd.data.labelled import LabelledData
from neurokd.errors import FileFormatError, UsageError

FORMAT = 1
"""Raised whenever other frames are made of the same files."""


@dataclass(frozen=True)
class Recordings:
    """Files in a fixed order, their classes, the sensor's (height, width) and the frames'."""

    name: str
    root: Path
    files: tuple[Path, ...]
    classes: NDArray[np.int64]
    sensor: tuple[int, int]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if not self.files:
            raise FileFormatError(
                "there are no recordings",
                where=str(self.root),
                expected=f"a folder for each class, with files {', '.join(READERS)}",
            )

    def labelled(
        self, steps: int, slicing: Slicing = "time", largest: int = GRADED
    ) -> LabelledData:
        """Frames of all recordings, made once and then read from the cache.

        Shapes: x (N, T, 2, H, W) uint8, a read-only memory map; counts above ``largest`` are
        ``largest``, and a message says how many events that left out.
        Raises: `UsageError`, `FileFormatError`, `BackendUnavailableError`.
        """
        if steps < 1 or not 1 <= largest <= GRADED:
            raise UsageError(
                "such frames cannot be made",
                where=self.name,
                expected=f"steps ≥ 1 and counts up to 1 … {GRADED}",
                found=f"{steps} steps, counts up to {largest}",
            )
        shape = (len(self.files), steps, POLARITIES, *self.size)
        label = f"{self.name.replace(':', '-')}-{steps}-{self._key(steps, slicing, largest)}"

        def fill(index: int, frames: NDArray[np.uint8]) -> int:
            recording = read_recording(self.files[index], self.sensor)
            frames[:], lost = saturated(event_frames(recording, steps, self.size, slicing), largest)
            return lost

        name = self.name if largest == GRADED else f"{self.name} (counts up to {largest})"
        return LabelledData(name, cached(label, shape, fill), self.classes, events=True)

    def _key(self, steps: int, slicing: Slicing, largest: int) -> str:
        """Changes with the files, and with what is made of them."""
        files = [
            (str(file.relative_to(self.root)), status.st_size, status.st_mtime_ns)
            for file, status in ((file, os.stat(file)) for file in self.files)
        ]
        made = [FORMAT, str(self.root), steps, slicing, largest, self.sensor, self.size, files]
        return hashlib.sha256(json.dumps(made).encode()).hexdigest()[:16]
