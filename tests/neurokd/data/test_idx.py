import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from neurokd.data.idx import read_idx
from neurokd.errors import FileFormatError

HEADER = struct.pack(">4B2I", 0, 0, 8, 2, 2, 3)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_plain_and_compressed(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "a-idx2-ubyte"
    path.write_bytes(pack(HEADER + bytes(range(6))))  # type: ignore[operator]
    assert np.array_equal(read_idx(path), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX"),
        (b"PK\x03\x04 something else", "not an IDX"),
        (HEADER + bytes(5), "does not hold"),
        (HEADER + bytes(7), "does not hold"),
        (HEADER[:6], "header"),
        (gzip.compress(HEADER + bytes(6))[:-9], "cannot be read"),
        (b"\x1f\x8bgarbage", "cannot be read"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_idx(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        read_idx(tmp_path / "nothing")
