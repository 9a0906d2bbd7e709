"""CIFAR10-DVS: moving images of CIFAR-10 before an event camera (Li et al. 2017)."""

from __future__ import annotations

import math

import numpy as np

from neurokd.data.events.frames import GRADED, Slicing
from neurokd.data.events.recordings import Recordings
from neurokd.data.folder import data_folder
from neurokd.data.labelled import LabelledData
from neurokd.data.published import PublishedSet

SENSOR = (128, 128)
SIZE = (48, 48)
DEFAULT_STEPS = 10
TRAINED_ON = 0.9
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

# Address and hash: tonic/datasets/cifar10dvs.py.
CIFAR10_DVS = PublishedSet(
    name="cifar10-dvs",
    folder="CIFAR10DVS",
    base_url="https://figshare.com/ndownloader/files",
    files={"CIFAR10DVS.zip": "ce3a4a0682dc0943703bd8f749a7701c"},
    contents=CLASSES,
    unpack="CIFAR10DVS",
    nested=True,
    paths={"CIFAR10DVS.zip": "38023437"},
)


def cifar10_dvs(
    split: str, steps: int | None = None, slicing: Slicing = "time", largest: int = GRADED
) -> LabelledData:
    """Frames of CIFAR10-DVS, by default ten a recording.

    The sensor's 128 × 128 pixels become 48 × 48 by adding up counts.

    Shapes: x (N, T, 2, 48, 48). Raises: those of `recordings` and of `Recordings.labelled`.
    """
    return recordings(split).labelled(DEFAULT_STEPS if steps is None else steps, slicing, largest)


def recordings(split: str) -> Recordings:
    """``CIFAR10DVS/<class>/*.aedat4`` of the data folder, as many as are there, in turn.

    There is no official split. As the field does, the first 90 % of each class in the order of
    the file names are for training (900 of 1,000), the others for testing.

    Raises: `DownloadError`, `FileFormatError` where there are none.
    Source: spikingjelly's split_to_train_test_set(0.9, …), not shuffled.
    """
    folder = data_folder(CIFAR10_DVS)
    found = []
    for number, name in enumerate(CLASSES):
        files = sorted((folder / name).glob("*.aedat4"))
        first = math.ceil(TRAINED_ON * len(files))
        chosen = files[:first] if split == "train" else files[first:]
        found += [(place, number, file) for place, file in enumerate(chosen)]
    found.sort()
    classes = np.array([number for _, number, _ in found], dtype=np.int64)
    return Recordings(
        f"cifar10-dvs:{split}", folder, tuple(file for *_, file in found), classes, SENSOR, SIZE
    )
