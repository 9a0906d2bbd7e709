"""An HDF5 file nobody has vouched for, as nested dictionaries of arrays, numbers and texts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py

from neurokd.errors import FileFormatError
from neurokd.export.hdf5_guard import guard
from neurokd.export.hdf5_text import TextReader

MAX_FILE_BYTES = 1 << 30


def read_hdf5_tree(path: Path) -> dict[str, Any]:
    """Everything in the file; links are not followed, data sets are measured before they are read.

    The file is read once, into memory. Texts become str, other scalars numpy scalars.

    Raises: `FileFormatError`, and whatever h5py raises at damaged bytes.
    """
    if not path.is_file():
        raise FileFormatError(
            "no such file",
            expected="a file",
            found="a folder" if path.is_dir() else "nothing",
        )
    with path.open("rb") as stream:
        content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise FileFormatError(
            "the file is too large",
            expected=f"≤ {MAX_FILE_BYTES} bytes",
            found=str(path.stat().st_size),
        )
    with h5py.File(io.BytesIO(content), "r") as file:
        guard(file, len(content))
        return _tree(file, TextReader(file, content))


def _tree(group: h5py.Group, texts: TextReader) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, item in group.items():
        if not key.isprintable():
            raise FileFormatError(
                "a name holds unprintable characters",
                where=f"name {ascii(key)}",
                expected="printable names",
                found=ascii(key),
            )
        if isinstance(item, h5py.Group):
            value = _tree(item, texts)
        else:
            value = texts.read(item) if item.dtype.kind == "O" else item[()]
        tree[key] = value.decode() if isinstance(value, bytes) else value
    return tree
