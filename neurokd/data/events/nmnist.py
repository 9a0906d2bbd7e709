"""N-MNIST: MNIST's digits before a moving event camera (Orchard et al. 2015)."""

from __future__ import annotations

import numpy as np

from neurokd.data.events.frames import GRADED, Slicing
from neurokd.data.events.recordings import Recordings
from neurokd.data.folder import data_folder
from neurokd.data.labelled import LabelledData
from neurokd.data.published import PublishedSet

SENSOR = (34, 34)
DEFAULT_STEPS = 10

# Addresses and hashes: tonic/datasets/nmnist.py.
NMNIST = PublishedSet(
    name="nmnist",
    folder="NMNIST",
    base_url="https://data.mendeley.com/public-files/datasets/468j46mzdv/files",
    files={
        "train.zip": "20959b8e626244a1b502305a9e6e2031",
        "test.zip": "69ca8762b2fe404d9b9bad1103e97832",
    },
    contents=("Train", "Test"),
    unpack="NMNIST",
    paths={
        "train.zip": "39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
        "test.zip": "05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
    },
)
_FOLDERS = {"train": "Train", "test": "Test"}


def nmnist(
    split: str, steps: int | None = None, slicing: Slicing = "time", largest: int = GRADED
) -> LabelledData:
    """Frames of N-MNIST, by default ten a recording.

    Shapes: x (N, T, 2, 34, 34). Raises: those of `recordings` and of `Recordings.labelled`.
    """
    return recordings(split).labelled(DEFAULT_STEPS if steps is None else steps, slicing, largest)


def recordings(split: str) -> Recordings:
    """``NMNIST/Train|Test/<digit>/<number>.bin`` of the data folder, as many as are there.

    They are in the order of their numbers, which is the order of MNIST's images.

    Raises: `DownloadError`, `FileFormatError` where there are none.
    """
    folder = data_folder(NMNIST) / _FOLDERS[split]
    files = sorted(folder.glob("[0-9]/*.bin"), key=lambda file: file.stem.zfill(8))
    classes = np.array([int(file.parent.name) for file in files], dtype=np.int64)
    return Recordings(f"nmnist:{split}", folder, tuple(files), classes, SENSOR, SENSOR)
