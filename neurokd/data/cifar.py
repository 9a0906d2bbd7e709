"""CIFAR-10 and CIFAR-100 in torchvision's layout: the original python batches."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurokd.data.array_pickle import load_array_pickle
from neurokd.data.folder import data_folder
from neurokd.data.labelled import LabelledData
from neurokd.data.published import PublishedSet
from neurokd.errors import FileFormatError

_SHAPE = (3, 32, 32)
_MAX_BYTES = 1 << 28
_BASE_URL = "https://www.cs.toronto.edu/~kriz"

# Hashes: www.cs.toronto.edu/~kriz/cifar.html and torchvision/datasets/cifar.py.
CIFAR10 = PublishedSet(
    name="cifar10",
    folder="cifar-10-batches-py",
    base_url=_BASE_URL,
    files={"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
    contents=(*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
    unpack=".",
)
CIFAR100 = PublishedSet(
    name="cifar100",
    folder="cifar-100-python",
    base_url=_BASE_URL,
    files={"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
    contents=("train", "test"),
    unpack=".",
)


def cifar10(split: str) -> LabelledData:
    """50,000 training or 10,000 test images (3, 32, 32), classes 0 to 9.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    folder = data_folder(CIFAR10)
    batches = CIFAR10.contents[:5] if split == "train" else CIFAR10.contents[5:]
    sizes = {folder / batch: 10_000 for batch in batches}
    return read_cifar(f"cifar10:{split}", sizes, "labels", classes=10)


def cifar100(split: str) -> LabelledData:
    """50,000 training or 10,000 test images (3, 32, 32), the 100 fine classes.

    Source: Krizhevsky 2009, Learning multiple layers of features from tiny images.
    """
    sizes = {data_folder(CIFAR100) / split: 50_000 if split == "train" else 10_000}
    return read_cifar(f"cifar100:{split}", sizes, "fine_labels", classes=100)


def read_cifar(name: str, sizes: dict[Path, int], labels: str, classes: int) -> LabelledData:
    """The images of several files one after another; ``sizes``: how many each must hold.

    Images in [0, 1]. One file at a time is in memory besides the result.
    Raises: `FileFormatError` for a file that is missing, foreign, incomplete or harmful.
    """
    count = sum(sizes.values())
    x, y = np.empty((count, *_SHAPE), dtype=np.float32), np.empty(count, dtype=np.int64)
    start = 0
    for path, size in sizes.items():
        end = start + size
        _read_batch(path, labels, classes, x[start:end], y[start:end])
        start = end
    return LabelledData(name, x, y)


def _read_batch(
    path: Path, labels: str, classes: int, x: NDArray[np.float32], y: NDArray[np.int64]
) -> None:
    """Fill x (size, 3, 32, 32) and y (size,) from one file."""
    try:
        entries = load_array_pickle(_content(path))
    except pickle.UnpicklingError as error:
        raise FileFormatError(
            "this is not a batch of CIFAR, nothing in it was run", where=str(path), found=str(error)
        ) from error
    size = len(y)
    images, found = entries.get("data"), entries.get(labels)
    if not isinstance(images, np.ndarray) or images.shape != (size, 3072):
        raise FileFormatError(
            "the batch does not hold its images",
            where=str(path),
            expected=f"data ({size}, 3072) of unsigned bytes",
            found=f"shape {images.shape}" if isinstance(images, np.ndarray) else "no such array",
        )
    if not isinstance(found, list) or len(found) != size or set(map(type, found)) != {int}:
        raise FileFormatError(
            "the batch does not hold its classes",
            where=str(path),
            expected=f"{labels}: {size} whole numbers",
            found=f"{len(found)} entries" if isinstance(found, list) else "no such list",
        )
    if min(found) < 0 or max(found) >= classes:
        raise FileFormatError(
            "a class is out of range",
            where=str(path),
            expected=f"0 to {classes - 1}",
            found=f"{min(found)} to {max(found)}",
        )
    np.divide(images.reshape(x.shape), 255, out=x, dtype=np.float32)
    y[:] = found


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise FileFormatError(
            "a file of the data set is missing",
            where=str(path),
            remedy="complete the folder, or unset NEUROKD_DATA to have the set downloaded",
        ) from error
    except OSError as error:
        raise FileFormatError(
            "the file cannot be read", where=str(path), found=str(error)
        ) from error
    if len(content) > _MAX_BYTES:
        raise FileFormatError(
            "the file is larger than any batch of CIFAR", where=str(path), expected="≤ 256 MiB"
        )
    return content
