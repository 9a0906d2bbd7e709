"""DVS-Gesture: eleven gestures before an event camera (Amir et al. 2017)."""

from __future__ import annotations

import numpy as np

from neurokd.data.events.frames import GRADED, Slicing
from neurokd.data.events.recordings import Recordings
from neurokd.data.folder import data_folder
from neurokd.data.labelled import LabelledData
from neurokd.data.published import PublishedSet
from neurokd.errors import FileFormatError

SENSOR = (128, 128)
DEFAULT_STEPS = 16
CLASSES = 11
_FOLDERS = {"train": "ibmGestureTrain", "test": "ibmGestureTest"}

# Addresses and hashes: tonic/datasets/dvsgesture.py.
DVS_GESTURE = PublishedSet(
    name="dvs-gesture",
    folder="DVSGesture",
    base_url="https://figshare.com/ndownloader/files",
    files={
        "ibmGestureTrain.tar.gz": "3a8f0d4120a166bac7591f77409cb105",
        "ibmGestureTest.tar.gz": "56070e45dadaa85fff82e0fbfbc06de5",
    },
    contents=tuple(_FOLDERS.values()),
    unpack="DVSGesture",
    paths={"ibmGestureTrain.tar.gz": "38022171", "ibmGestureTest.tar.gz": "38020584"},
)


def dvs_gesture(
    split: str, steps: int | None = None, slicing: Slicing = "time", largest: int = GRADED
) -> LabelledData:
    """Frames of DVS-Gesture, by default sixteen a recording.

    Shapes: x (N, T, 2, 128, 128). Raises: those of `recordings` and of `Recordings.labelled`.
    """
    return recordings(split).labelled(DEFAULT_STEPS if steps is None else steps, slicing, largest)


def recordings(split: str) -> Recordings:
    """``DVSGesture/ibmGestureTrain|Test/<user>_<light>/<class>.npy`` of the data folder.

    These are the recordings as tonic's files have them, one a gesture, split by user as published.

    Raises: `DownloadError`, `FileFormatError` where there are none, or one is no gesture's.
    """
    folder = data_folder(DVS_GESTURE) / _FOLDERS[split]
    numbered = [(file.parent.name, file.stem, file) for file in folder.glob("user*_*/*.npy")]
    foreign = [file for _, stem, file in numbered if not (stem.isdigit() and int(stem) < CLASSES)]
    if foreign:
        raise FileFormatError(
            "this file is no gesture's",
            where=str(foreign[0]),
            expected=f"0.npy … {CLASSES - 1}.npy",
        )
    found = sorted((user, int(stem), file) for user, stem, file in numbered)
    classes = np.array([number for _, number, _ in found], dtype=np.int64)
    return Recordings(
        f"dvs-gesture:{split}", folder, tuple(file for *_, file in found), classes, SENSOR, SENSOR
    )
