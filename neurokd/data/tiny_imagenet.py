"""Tiny-ImageNet in its own folders of JPEG files, decoded once."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurokd import atomic
from neurokd.cache import cache_folder, lock
from neurokd.data.folder import data_folder
from neurokd.data.labelled import LabelledData
from neurokd.data.published import PublishedSet
from neurokd.errors import FileFormatError

TINY_IMAGENET = PublishedSet(
    name="tiny-imagenet",
    folder="tiny-imagenet-200",
    base_url="http://cs231n.stanford.edu",
    files={"tiny-imagenet-200.zip": "90528d7ca1a48142e341f4ef8d21d0de"},
    contents=("wnids.txt", "train", "val"),
    unpack=".",
)
_LARGEST = 512
"""Pixels of a side; the published images have 64."""


def tiny_imagenet(split: str) -> LabelledData:
    """100,000 training or 10,000 test images (3, 64, 64), 200 classes in the order of wnids.txt.

    The published validation images are the test set: the labels of the test images are not public.
    Training samples go round the classes, so that the first ones are of all of them. The first use
    decodes the images into the cache (5 GB of float32), which is mapped, not read, from then on.

    Raises: `FileFormatError` for a folder that is not complete, or an image that is none.
    Source: Le and Yang 2015, Tiny ImageNet visual recognition challenge.
    """
    return read_tiny_imagenet(data_folder(TINY_IMAGENET), split)


def read_tiny_imagenet(folder: Path, split: str) -> LabelledData:
    """The images of a folder laid out as the published one; see `tiny_imagenet`."""
    names = _lines(folder / "wnids.txt")
    files, y = _train_files(folder, names) if split == "train" else _val_files(folder, names)
    kept = cache_folder() / "tiny-imagenet" / f"{split}-{_fingerprint(files)}"

    def waiting() -> None:
        print("another process decodes these images, waiting for it", file=sys.stderr)

    with lock(kept.with_suffix(".lock"), waiting):
        if not (kept / "x.npy").is_file():
            print(f"decoding {len(files)} images into {kept}, once", file=sys.stderr)
            with atomic.folder(kept) as beside:
                _decode(files, beside / "x.npy")
    x = np.load(kept / "x.npy", mmap_mode="r")
    return LabelledData(f"tiny-imagenet:{split}", x, y)


def _train_files(folder: Path, names: list[str]) -> tuple[list[Path], NDArray[np.int64]]:
    """train/<name>/images/*.JPEG: the first of every class, then the second, …"""
    found = []
    for label, name in enumerate(names):
        images = sorted((folder / "train" / name / "images").glob("*.JPEG"), key=_natural)
        if not images:
            raise FileFormatError(
                "a class has no images",
                where=str(folder / "train" / name / "images"),
                expected="*.JPEG",
                remedy="complete the folder, or unset NEUROKD_DATA to have the set downloaded",
            )
        found += [(rank, label, image) for rank, image in enumerate(images)]
    found.sort(key=lambda entry: entry[:2])
    return [image for _, _, image in found], np.array(
        [label for _, label, _ in found], dtype=np.int64
    )


def _val_files(folder: Path, names: list[str]) -> tuple[list[Path], NDArray[np.int64]]:
    """val/images, in the order of val_annotations.txt: file, name of the class, box."""
    labels = {name: label for label, name in enumerate(names)}
    table = folder / "val" / "val_annotations.txt"
    files, y = [], []
    for line in _lines(table):
        file, _, rest = line.partition("\t")
        name = rest.partition("\t")[0]
        if name not in labels or "/" in file or file[:1] in ("", "."):
            raise FileFormatError(
                "a line names no image of a class",
                where=str(table),
                expected="FILE, tab, one of wnids.txt, tab, …",
                found=repr(line[:80]),
            )
        files.append(folder / "val" / "images" / file)
        y.append(labels[name])
    return files, np.array(y, dtype=np.int64)


def _decode(files: list[Path], target: Path) -> None:
    """All images as one array (N, 3, H, W) in [0, 1]; those of one channel become grey RGB."""
    from PIL import Image

    x: NDArray[np.float32] | None = None
    for index, file in enumerate(files):
        try:
            with Image.open(file) as image:
                width, height = image.size
                if max(width, height) > _LARGEST:
                    raise FileFormatError(
                        "the image is too large",
                        where=str(file),
                        expected=f"≤ {_LARGEST} pixels a side",
                        found=f"{width} × {height}",
                    )
                pixels = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise FileFormatError(
                "this is not a complete image", where=str(file), found=str(error)
            ) from error
        if x is None:
            shape = (len(files), 3, height, width)
            x = np.lib.format.open_memmap(target, mode="w+", dtype=np.float32, shape=shape)
        if (height, width) != x.shape[2:]:
            raise FileFormatError(
                "the image is of another size than the first",
                where=str(file),
                expected=f"{x.shape[3]} × {x.shape[2]}",
                found=f"{width} × {height}",
            )
        np.divide(pixels.transpose(2, 0, 1), 255, out=x[index], dtype=np.float32)
    del x  # closes the file, which is complete then


def _fingerprint(files: list[Path]) -> str:
    """Hash over names, sizes and times of the files; `FileFormatError` for a missing one."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise FileFormatError("an image is missing", where=str(file)) from error
        digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            "a file of the data set cannot be read",
            where=str(path),
            found=str(error),
            remedy="complete the folder, or unset NEUROKD_DATA to have the set downloaded",
        ) from error
    found = [line.rstrip("\r") for line in lines if line.strip()]
    if not found:
        raise FileFormatError("the file is empty", where=str(path))
    return found


def _natural(path: Path) -> tuple[int, str]:
    """2 before 10: names that differ in a number only are sorted by it."""
    return len(path.name), path.name
