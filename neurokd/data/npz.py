"""A data set in one `.npz` file: arrays `x` and `y`, and whether they are event frames."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from neurokd.data.labelled import LabelledData
from neurokd.errors import FileFormatError


def read_npz(path: Path) -> LabelledData:
    """Samples ``x`` (N, *shape) and classes ``y`` (N,); nothing in the file is unpickled.

    With a third array, ``events``, of the single value True, ``x`` is (N, T, *shape), event frames.

    Raises: `FileFormatError` for a missing, truncated or foreign file, missing arrays, numbers
    that are not finite, or classes that are not whole numbers.
    """
    if not path.is_file():
        raise FileFormatError("no such file", where=str(path))
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            missing = {"x", "y"} - set(archive.files)
            if missing:
                raise FileFormatError(
                    "an array is missing",
                    where=str(path),
                    expected="x and y",
                    found=", ".join(archive.files) or "nothing",
                )
            x, y = archive["x"], archive["y"]
            events = archive["events"] if "events" in archive.files else np.False_
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            "this is not a complete .npz file", where=str(path), found=str(error)
        ) from error
    if x.dtype.kind not in "fiub" or not np.isfinite(x).all():
        raise FileFormatError(
            "x must hold finite numbers", where=str(path), found=f"{x.dtype} {x.shape}"
        )
    if y.dtype.kind not in "iu" or (y.size and int(y.min()) < 0):
        raise FileFormatError(
            "y must hold classes 0, 1, …", where=str(path), found=f"{y.dtype} {y.shape}"
        )
    if events.shape != () or events.dtype != np.bool_:
        raise FileFormatError(
            "events must be a single True or False",
            where=str(path),
            found=f"{events.dtype} {events.shape}",
        )
    if not (events and x.dtype == np.uint8):
        x = x.astype(np.float32, copy=False)
    return LabelledData(str(path), x, y.astype(np.int64), events=bool(events))
