"""Embeddings: a data set as a frozen extractor sees it, in one `.safetensors` file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from neurokd.atomic import write_bytes
from neurokd.data.labelled import LabelledData
from neurokd.errors import FileFormatError, ShapeMismatchError

FORMAT = "neurokd embeddings 1"
SUFFIX = ".safetensors"
_KEY = "embeddings"
"""Of the header's entry, which is JSON."""
_SPLITS = ("train", "test")


@dataclass(frozen=True)
class Embeddings:
    """Training and test samples behind an extractor, and which one it was.

    ``data`` names the data set, ``extractor`` says what computed them and ``weights_sha256`` with
    which weights. Shapes: x (N, d) float32, y (N,) int64, the same d in both splits.
    Raises: `ShapeMismatchError`, `FileFormatError` for numbers that are not finite.
    """

    data: str
    extractor: str
    weights_sha256: str
    train: LabelledData
    test: LabelledData

    def __post_init__(self) -> None:
        for part in (self.train, self.test):
            if part.x.ndim != 2 or part.x.shape[1:] != self.train.x.shape[1:]:
                raise ShapeMismatchError(
                    "these are not embeddings of one kind",
                    where=part.name,
                    expected="x (N, d), the same d in both splits",
                    found=f"train {self.train.x.shape}, test {self.test.x.shape}",
                )
            if not np.isfinite(part.x).all():
                raise FileFormatError(
                    "an embedding is not finite",
                    where=part.name,
                    found=f"sample {int(np.argmin(np.isfinite(part.x).all(axis=1)))}",
                    remedy="look for a broken extractor, or broken samples",
                )

    @property
    def dimensions(self) -> int:
        """d, numbers in an embedding."""
        return int(self.train.x.shape[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the file by name."""
        return {
            f"{split}.{axis}": np.ascontiguousarray(getattr(part, axis), dtype=kind)
            for split, part in zip(_SPLITS, (self.train, self.test), strict=True)
            for axis, kind in (("x", np.float32), ("y", np.int64))
        }

    def sha256(self) -> str:
        """Hash of names, types, shapes and bytes of all arrays, whatever file they are in."""
        return arrays_sha256(self.arrays())


def arrays_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of named arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_embeddings(path: Path, embeddings: Embeddings) -> Path:
    """Write embeddings, complete or not at all."""
    header = {
        "format": FORMAT,
        "data": embeddings.data,
        "extractor": embeddings.extractor,
        "weights_sha256": embeddings.weights_sha256,
        "sha256": embeddings.sha256(),
    }
    return write_bytes(path, save(embeddings.arrays(), metadata={_KEY: json.dumps(header)}))


def read_embeddings(path: Path) -> Embeddings:
    """Read embeddings, and check that they are as they were written.

    Raises: `FileFormatError` for a missing, truncated, foreign or changed file, for classes below 0
    and numbers that are not finite; `ShapeMismatchError`.
    """
    header, arrays = _content(path)
    for name, array in arrays.items():
        expected = np.float32 if name.endswith("x") else np.int64
        if array.dtype != expected:
            raise FileFormatError(
                "an array is of another type",
                where=f"{path}, {name}",
                expected=np.dtype(expected).name,
                found=str(array.dtype),
            )
    found = arrays_sha256(arrays)
    if found != header["sha256"]:
        raise FileFormatError(
            "the embeddings are not those that were written",
            where=str(path),
            expected=f"sha256 {header['sha256'][:16]}…",
            found=f"{found[:16]}…",
            remedy="remove the file, and compute it again with `neurokd embed`",
        )
    for split in _SPLITS:
        y = arrays[f"{split}.y"]
        if y.size and int(y.min()) < 0:
            raise FileFormatError(
                "y must hold classes 0, 1, …", where=f"{path}, {split}.y", found=str(y.min())
            )
    train, test = (
        LabelledData(f"{path}:{split}", arrays[f"{split}.x"], arrays[f"{split}.y"])
        for split in _SPLITS
    )
    return Embeddings(header["data"], header["extractor"], header["weights_sha256"], train, test)


def _content(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """The header and the four arrays."""
    if not path.is_file():
        raise FileFormatError("no such file", where=str(path), remedy="`neurokd embed` makes one")
    try:
        with safe_open(str(path), framework="numpy") as stream:
            text = (stream.metadata() or {}).get(_KEY, "null")
            arrays = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise FileFormatError(
            "this is not a complete safetensors file", where=str(path), found=str(error)
        ) from error
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            "the header is not JSON", where=str(path), found=str(error)
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FileFormatError(
            "this file holds no embeddings",
            where=str(path),
            expected=f"format {FORMAT!r}",
            found=repr(header.get("format") if isinstance(header, dict) else None),
            remedy="`neurokd embed` makes one",
        )
    expected = {f"{split}.{axis}" for split in _SPLITS for axis in ("x", "y")}
    if arrays.keys() != expected:
        raise FileFormatError(
            "the file does not hold its arrays",
            where=str(path),
            expected=", ".join(sorted(expected)),
            found=", ".join(sorted(arrays)) or "nothing",
        )
    for key in ("data", "extractor", "weights_sha256", "sha256"):
        if not isinstance(header.get(key), str):
            raise FileFormatError(
                "the header lacks an entry", where=str(path), expected=key, found=repr(header)[:80]
            )
    return header, arrays
