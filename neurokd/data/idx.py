"""The IDX file format of MNIST, gzip-compressed or plain."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import FileFormatError

_UNSIGNED_BYTE = 8
_MAX_BYTES = 1 << 30


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file.

    Raises: `FileFormatError` for a missing, truncated or foreign file.
    Source: the format's description on the MNIST page (magic 0, 0, type, rank; big-endian sizes).
    """
    if not path.is_file():
        raise FileFormatError("no such file", where=str(path))
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise FileFormatError(
            "this is not an IDX file of unsigned bytes",
            where=str(path),
            expected="a header 00 00 08 rank",
            found=content[:4].hex(" ") or "an empty file",
        )
    rank = content[3]
    start = 4 + 4 * rank
    if not 1 <= rank <= 4 or len(content) < start:
        raise FileFormatError("the IDX header is broken", where=str(path), found=f"rank {rank}")
    shape = struct.unpack(f">{rank}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise FileFormatError(
            "the IDX file does not hold what its header says",
            where=str(path),
            expected=f"{math.prod(shape)} bytes for shape {shape}",
            found=f"{len(content) - start} bytes",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    stream: Any
    try:
        with open(path, "rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else open(path, "rb") as stream:
            content: bytes = stream.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(
            "the file cannot be read", where=str(path), found=str(error)
        ) from error
    if len(content) > _MAX_BYTES:
        raise FileFormatError(
            "the file is larger than any IDX data set", where=str(path), expected="≤ 1 GiB"
        )
    return content
