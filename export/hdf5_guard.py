"""What an HDF5 file may contain before it is read: no links away, no cycles, no hidden sizes."""

from __future__ import annotations

import math

import h5py

from neurokd.errors import FileFormatError

MAX_TOTAL_BYTES = 1 << 30
MAX_OBJECTS = 100_000
MAX_NESTING = 16
MAX_STRINGS = 1_000_000


def guard(stream: h5py.File) -> None:
    """Walk every object of a file without reading any data.

    Raises: `FileFormatError` for external or soft links, an object met twice (a cycle), external or
    virtual storage, data sets that are too large, unallocated or of an unreadable type.
    """
    seen: set[int] = {h5py.h5o.get_info(stream.id).addr}
    pending: list[tuple[h5py.Group, str, int]] = [(stream["/"], "", 0)]
    total = 0
    while pending:
        group, path, nesting = pending.pop()
        for key in group:
            place = f"{path}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise FileFormatError(
                    "the file links elsewhere",
                    where=place,
                    expected="data inside the file",
                    found=type(link).__name__,
                )
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise FileFormatError("an object is linked twice, or in a circle", where=place)
            seen.add(address)
            if len(seen) > MAX_OBJECTS or nesting > MAX_NESTING:
                raise FileFormatError(
                    "too many or too deeply nested objects",
                    where=place,
                    expected=f"≤ {MAX_OBJECTS} objects, ≤ {MAX_NESTING} levels",
                )
            if isinstance(item, h5py.Group):
                pending.append((item, place, nesting + 1))
            elif isinstance(item, h5py.Dataset):
                total += _measure(item, place)
            else:
                raise FileFormatError(
                    "unknown kind of object", where=place, found=type(item).__name__
                )
            if total > MAX_TOTAL_BYTES:
                raise FileFormatError(
                    "the data is too large",
                    where=place,
                    expected=f"≤ {MAX_TOTAL_BYTES} bytes in all",
                    found=f"{total} bytes up to here",
                )


def _measure(item: h5py.Dataset, place: str) -> int:
    """Bytes that reading would take."""
    if item.external or item.is_virtual:
        raise FileFormatError("the data lies in another file", where=place)
    if item.shape is None:
        raise FileFormatError("the data set is empty", where=place)
    if item.dtype.kind not in "iufbSO":
        raise FileFormatError(
            "the data set holds no numbers and no text", where=place, found=str(item.dtype)
        )
    if item.dtype.kind == "O" and (
        h5py.check_string_dtype(item.dtype) is None or item.size > MAX_STRINGS
    ):
        raise FileFormatError("the data set holds no plain text", where=place)
    size = int(item.size) * int(item.dtype.itemsize)
    if size > MAX_TOTAL_BYTES:
        raise FileFormatError(
            "the data set is too large",
            where=place,
            expected=f"≤ {MAX_TOTAL_BYTES} bytes",
            found=f"{item.shape} = {size} bytes",
        )
    if item.chunks is not None:
        wanted = math.prod(-(-n // c) for n, c in zip(item.shape, item.chunks, strict=True))
        allocated = item.id.get_num_chunks()
    else:
        wanted, allocated = int(item.size > 0), int(item.id.get_storage_size() > 0)
    if allocated < wanted:
        raise FileFormatError(
            "the data set was never written",
            where=place,
            expected=f"{wanted} stored pieces",
            found=str(allocated),
        )
    return size
