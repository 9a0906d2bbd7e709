"""MNIST: the packaged subset, and the whole set in torchvision's layout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from neurokd.data.folder import data_folder
from neurokd.data.idx import read_idx
from neurokd.data.labelled import LabelledData
from neurokd.data.published import PublishedSet
from neurokd.errors import FileFormatError

_PREFIXES = {"train": "train", "test": "t10k"}

# Address and hashes: torchvision/datasets/mnist.py.
_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
MNIST = PublishedSet(
    name="mnist",
    folder="MNIST/raw",
    base_url="https://ossci-datasets.s3.amazonaws.com/mnist",
    files=_MD5,
    contents=tuple(_MD5),
)


def mnist_subset(split: str) -> LabelledData:
    """The first 5,000 training or 1,000 test images of MNIST, part of this package."""
    with resources.as_file(resources.files("neurokd.data") / "mnist_subset") as folder:
        return read_mnist(f"mnist-subset:{split}", folder, split)


def mnist(split: str) -> LabelledData:
    """All of MNIST: 60,000 training and 10,000 test images (1, 28, 28), classes 0 to 9."""
    return read_mnist(f"mnist:{split}", data_folder(MNIST), split)


def read_mnist(name: str, folder: Path, split: str) -> LabelledData:
    """A set in MNIST's four files, gzip-compressed or not; images (1, H, W) in [0, 1].

    Raises: `FileFormatError` for files that are missing or are not images and labels.
    """
    images = read_idx(_find(folder, f"{_PREFIXES[split]}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{_PREFIXES[split]}-labels-idx1-ubyte"))
    if images.ndim != 3 or labels.ndim != 1:
        raise FileFormatError(
            "these are not MNIST's images and labels",
            where=str(folder),
            expected="ranks 3 and 1",
            found=f"ranks {images.ndim} and {labels.ndim}",
        )
    x = np.divide(images[:, None], 255, dtype=np.float32)
    return LabelledData(name, x, labels.astype(np.int64))


def _find(folder: Path, stem: str) -> Path:
    compressed = folder / f"{stem}.gz"
    return compressed if compressed.is_file() else folder / stem
