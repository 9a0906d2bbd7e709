"""A file in memory behaves as Python's own, and holds what HDF5 writes."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from neurokd.export.hdf5_memory import MemoryFile


@pytest.mark.parametrize("capacity", [0, 7, 1 << 16])
def test_random_calls_do_what_they_do_to_bytesio(capacity: int) -> None:
    rng = np.random.default_rng(0)
    ours, expected = MemoryFile(capacity), io.BytesIO()
    longest = 0
    for _ in range(500):
        size = int(rng.integers(200))
        whence = int(rng.integers(3))
        data = rng.bytes(size)
        # gaps are filled with zeros, so is what truncating has cut
        for file in (ours, expected):
            file.seek(size if whence == io.SEEK_SET else 0, whence)
        assert ours.tell() == expected.tell()
        action = rng.integers(10)
        if action < 5:
            assert ours.write(data) == expected.write(data)
        elif action < 9:
            assert ours.read(size) == expected.read(size)
        elif size < len(expected.getvalue()):
            assert ours.truncate(size) == expected.truncate(size)
        assert ours.tell() == expected.tell()
        assert bytes(ours.content) == expected.getvalue()
        longest = max(longest, len(ours.content))
    assert longest > 1000


def test_what_is_beyond_the_end_is_zero() -> None:
    file = MemoryFile(2)
    file.write(b"abcd")
    file.truncate(1)
    assert file.truncate(3) == 3 and bytes(file.content) == b"a\0\0"
    file.seek(5)
    assert file.read(2) == b"" and file.write(b"z") == 1
    assert bytes(file.content) == b"a\0\0\0\0z"


@pytest.mark.parametrize("capacity", [0, 1 << 20])
def test_hdf5_writes_the_same_bytes(capacity: int) -> None:
    ours, expected = MemoryFile(capacity), io.BytesIO()
    values = np.random.default_rng(0).normal(size=(60, 70))
    for stream in (ours, expected):
        with h5py.File(stream, "w") as file:
            file.create_dataset("a/b", data=values, compression="gzip")
            file.create_dataset("text", data="τ", dtype=h5py.string_dtype())
    assert bytes(ours.content) == expected.getvalue()
    with h5py.File(ours, "r") as file:
        np.testing.assert_array_equal(file["a/b"][()], values)
