"""What is measured before an HDF5 file is read, and texts that HDF5 does not get to read."""

from __future__ import annotations

import io
from collections.abc import Callable

import h5py
import numpy as np
import pytest

from neurokd.errors import FileFormatError
from neurokd.export.hdf5_guard import MAX_OBJECTS, guard
from neurokd.export.hdf5_text import TextReader

Fill = Callable[[h5py.File], None]


def file_of(fill: Fill) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as stream:
        fill(stream)
    return content.getvalue()


def check(content: bytes) -> None:
    with h5py.File(io.BytesIO(content), "r") as stream:
        guard(stream, len(content))


def test_what_nir_writes_passes() -> None:
    def fill(stream: h5py.File) -> None:
        for i, options in enumerate(({}, {"compression": "gzip"}, {"compression": "lzf"})):
            stream.create_dataset(f"a{i}", data=np.ones((40, 50)), **options)
        stream.create_dataset("s", data=np.ones(90), compression="gzip", shuffle=True)
        stream["text"] = "x"
        stream["one"] = 1.0
        stream.create_dataset("none", data=np.ones((0, 2)))

    check(file_of(fill))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda f: f.create_dataset("a", data=h5py.Empty("f4")), "/a.*empty"),
        (lambda f: f.create_dataset("a", (9, 9), "f4"), "/a.*never written"),
        (lambda f: f.create_dataset("a", (90, 90), "f4", chunks=(9, 9)), "never written.*100"),
        (
            lambda f: f.create_dataset("a", data=np.ones((9, 9), "i4"), scaleoffset=0),
            "packed in a way",
        ),
        (lambda f: f.create_dataset("a", data=np.ones(2, "c8")), "no numbers and no text"),
        (
            lambda f: f.create_dataset("a", (4,), "f8", maxshape=(None,), chunks=(1 << 27,)),
            "piece is too large",
        ),
        (lambda f: f.create_dataset("a", (300_000,), "S1", fillvalue=b"x"), "/a"),
        (
            lambda f: [f.create_group(str(i)) for i in range(MAX_OBJECTS + 1)],
            "too many",
        ),
    ],
    ids=["empty", "contiguous", "chunks", "filter", "complex", "piece", "texts", "objects"],
)
def test_what_is_refused(fill: Fill, message: str) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        check(file_of(fill))
    assert caught.value.expected and caught.value.found


def test_a_file_cut_short_has_no_data_to_lie_outside() -> None:
    content = file_of(lambda f: f.create_dataset("a", data=np.ones(1000)))
    with h5py.File(io.BytesIO(content), "r") as stream:
        with pytest.raises(FileFormatError, match="outside the file"):
            guard(stream, len(content) - 4000)


def test_texts_are_those_that_h5py_reads() -> None:
    texts = np.array([["a", "ünï"], ["", "x" * 5000]], dtype=object)

    def fill(stream: h5py.File) -> None:
        stream["many"] = texts
        stream["one"] = "näme"

    content = file_of(fill)
    with h5py.File(io.BytesIO(content), "r") as stream:
        reader = TextReader(stream, content)
        assert reader.read(stream["one"]) == stream["one"][()].decode() == "näme"
        np.testing.assert_array_equal(reader.read(stream["many"]), stream["many"][()])


@pytest.mark.parametrize("at", [0, 4, 8, 24])
def test_a_damaged_heap_is_refused(at: int) -> None:
    # the flips that made HDF5 2.0.0 hang or allocate gigabytes lie here
    content = bytearray(file_of(lambda f: f.create_dataset("one", data="text")))
    content[content.index(b"GCOL") + at + (7 if at >= 8 else 0)] ^= 0x40
    with h5py.File(io.BytesIO(content), "r") as stream:
        if at == 8:  # the size of the heap: bounded by the file
            assert TextReader(stream, bytes(content)).read(stream["one"]) == "text"
            return
        with pytest.raises(FileFormatError, match="heap that holds this text is damaged"):
            TextReader(stream, bytes(content)).read(stream["one"])
