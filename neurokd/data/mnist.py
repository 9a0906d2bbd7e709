"""MNIST: the packaged subset, and the whole set from the folder that `NEUROKD_DATA` names."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import numpy as np

from neurokd.data.idx import read_idx
from neurokd.data.labelled import LabelledData
from neurokd.errors import FileFormatError, UsageError

_PREFIXES = {"train": "train", "test": "t10k"}


def mnist_subset(split: str) -> LabelledData:
    """The first 5,000 training or 1,000 test images of MNIST, part of this package."""
    with resources.as_file(resources.files("neurokd.data") / "mnist_subset") as folder:
        return _read(f"mnist-subset:{split}", folder, split)


def mnist(split: str) -> LabelledData:
    """All of MNIST, from ``$NEUROKD_DATA/MNIST/raw`` (the layout of torchvision)."""
    root = os.environ.get("NEUROKD_DATA")
    if not root:
        raise UsageError(
            "the data set mnist has to be given",
            expected="NEUROKD_DATA naming a folder with MNIST/raw/train-images-idx3-ubyte.gz …",
            found="NEUROKD_DATA not set",
            remedy="set it, or use the packaged mnist-subset",
        )
    return _read(f"mnist:{split}", Path(root) / "MNIST" / "raw", split)


def _read(name: str, folder: Path, split: str) -> LabelledData:
    images = read_idx(_find(folder, f"{_PREFIXES[split]}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{_PREFIXES[split]}-labels-idx1-ubyte"))
    if images.ndim != 3 or labels.ndim != 1:
        raise FileFormatError(
            "these are not MNIST's images and labels",
            where=str(folder),
            expected="ranks 3 and 1",
            found=f"ranks {images.ndim} and {labels.ndim}",
        )
    x = images[:, None].astype(np.float32) / np.float32(255)
    return LabelledData(name, x, labels.astype(np.int64))


def _find(folder: Path, stem: str) -> Path:
    compressed = folder / f"{stem}.gz"
    return compressed if compressed.is_file() else folder / stem
