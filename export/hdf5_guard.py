"""What an HDF5 file may contain before it is read: no links away, no cycles, no hidden sizes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import h5py

from neurokd.errors import FileFormatError

MAX_TOTAL_BYTES = 1 << 30
FREE_BYTES = 128 << 20
"""What any file may unpack to, however small: constant parameters compress a thousandfold."""
MAX_RATIO = 32
"""Bytes in memory for each byte of the file beyond that."""
MAX_OBJECTS = 10_000
MAX_NESTING = 16
MAX_STRINGS = 200_000
DEFLATE_RATIO = 1032
"""Deflate's largest expansion. Source: zlib technical details, "maximum compression factor"."""
_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, 32000)


@dataclass
class _Measured:
    """What has been counted so far."""

    file_bytes: int
    total: int = 0
    strings: int = 0

    @property
    def allowed(self) -> int:
        return min(MAX_TOTAL_BYTES, FREE_BYTES + MAX_RATIO * self.file_bytes)


def guard(stream: h5py.File, file_bytes: int) -> None:
    """Walk every object of a file of ``file_bytes`` bytes; no data set is read.

    Afterwards, reading all data sets takes at most `FREE_BYTES` + `MAX_RATIO` · file_bytes; texts
    of varying length are for `hdf5_text.TextReader`. NIR has no use for HDF5 attributes: they are
    not looked at.

    Raises: `FileFormatError` for external or soft links, an object met twice (a cycle), external or
    virtual storage, unknown filters, data sets that are too large, unallocated, stored outside the
    file, that unpack to more than they claim, or of an unreadable type.
    """
    seen: set[int] = {h5py.h5o.get_info(stream.id).addr}
    pending: list[tuple[h5py.Group, str, int]] = [(stream["/"], "", 0)]
    measured = _Measured(file_bytes)
    while pending:
        group, path, nesting = pending.pop()
        # before they are opened one by one, which is what takes time
        if len(seen) + len(group) > MAX_OBJECTS or nesting > MAX_NESTING:
            raise FileFormatError(
                "too many or too deeply nested objects",
                where=path,
                expected=f"≤ {MAX_OBJECTS} objects, ≤ {MAX_NESTING} levels",
                found=f"{len(seen) + len(group)} objects, {nesting} levels up to here",
            )
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
                raise FileFormatError(
                    "an object is linked twice, or in a circle",
                    where=place,
                    expected="one link to each object",
                    found=f"another link to the object at byte {address}",
                )
            seen.add(address)
            if isinstance(item, h5py.Group):
                pending.append((item, place, nesting + 1))
            elif isinstance(item, h5py.Dataset):
                _measure(item, place, measured)
            else:
                raise FileFormatError(
                    "unknown kind of object",
                    where=place,
                    expected="groups and data sets",
                    found=type(item).__name__,
                )


def _measure(item: h5py.Dataset, place: str, measured: _Measured) -> None:
    if item.external or item.is_virtual:
        raise FileFormatError(
            "the data lies in another file",
            where=place,
            expected="data inside the file",
            found="a virtual data set" if item.is_virtual else f"{len(item.external)} files",
        )
    if item.shape is None:
        raise FileFormatError(
            "the data set is empty", where=place, expected="a shape", found="none"
        )
    if item.dtype.kind not in "iufbSO":
        raise FileFormatError(
            "the data set holds no numbers and no text",
            where=place,
            expected="integers, floats or text",
            found=str(item.dtype),
        )
    if item.dtype.kind == "O" and h5py.check_string_dtype(item.dtype) is None:
        raise FileFormatError(
            "the data set holds no plain text",
            where=place,
            expected="text",
            found=str(item.id.get_type().get_class()),
        )
    size = int(item.size) * int(item.dtype.itemsize)
    measured.total += size
    if measured.total > measured.allowed:
        raise FileFormatError(
            "the data set is too large",
            where=place,
            expected=f"≤ {measured.allowed} bytes in a file of {measured.file_bytes}",
            found=f"{item.shape} = {size} bytes, {measured.total} up to here",
        )
    _check_storage(item, place, size, measured)
    if item.dtype.kind in "SO":
        measured.strings += int(item.size)
        if measured.strings > MAX_STRINGS:
            raise FileFormatError(
                "too many texts",
                where=place,
                expected=f"≤ {MAX_STRINGS}",
                found=str(measured.strings),
            )


def _check_storage(item: h5py.Dataset, place: str, size: int, measured: _Measured) -> None:
    """What is stored is there, lies in the file, and unpacks to what the shape says."""
    if item.chunks is None:
        offset = item.id.get_offset()
        stored = item.id.get_storage_size()
        if size and not stored:
            raise _never_written(place, "1 stored piece", "0")
        if offset is not None and (offset + stored > measured.file_bytes or stored < size):
            raise _outside(place, measured.file_bytes, offset + max(stored, size))
        return
    plan = item.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if len(set(filters)) < len(filters) or not set(filters) <= set(_FILTERS):
        raise FileFormatError(
            "the data set is packed in a way that is not read here",
            where=place,
            expected="gzip or lzf, once, with shuffle or fletcher32",
            found=f"HDF5 filters {filters}",
        )
    chunk_bytes = math.prod(item.chunks) * item.dtype.itemsize
    if chunk_bytes > measured.allowed:
        raise FileFormatError(
            "a stored piece is too large",
            where=place,
            expected=f"≤ {measured.allowed} bytes",
            found=f"{item.chunks} = {chunk_bytes} bytes",
        )
    wanted = math.prod(-(-n // c) for n, c in zip(item.shape, item.chunks, strict=True))
    allocated = item.id.get_num_chunks()
    if allocated < wanted:
        raise _never_written(place, f"{wanted} stored pieces", str(allocated))
    for chunk in _chunks(item):
        if chunk.byte_offset is None or chunk.byte_offset + chunk.size > measured.file_bytes:
            raise _outside(place, measured.file_bytes, (chunk.byte_offset or 0) + chunk.size)
        if not filters and chunk.size < chunk_bytes:
            raise _never_written(place, f"pieces of {chunk_bytes} bytes", str(chunk.size))
        if h5py.h5z.FILTER_DEFLATE in filters and chunk.size * DEFLATE_RATIO > FREE_BYTES // 2:
            _check_inflated(item, place, chunk.chunk_offset, chunk_bytes)


def _chunks(item: h5py.Dataset) -> Iterator[h5py.h5d.StoreInfo]:
    if hasattr(item.id, "chunk_iter"):  # one pass; h5py 3.8 and later
        found: list[h5py.h5d.StoreInfo] = []
        item.id.chunk_iter(found.append)
        return iter(found)
    return (item.id.get_chunk_info(i) for i in range(item.id.get_num_chunks()))


def _check_inflated(
    item: h5py.Dataset, place: str, offset: tuple[int, ...], chunk_bytes: int
) -> None:
    """HDF5 unpacks a piece to its end, whatever its shape says; this stops where it should end."""
    mask, stored = item.id.read_direct_chunk(offset)
    if mask:
        return
    limit = chunk_bytes + 64  # fletcher32 adds four bytes
    unpacker = zlib.decompressobj()
    count = 0
    while stored and not unpacker.eof:
        count += len(unpacker.decompress(stored, 1 << 20))
        stored = unpacker.unconsumed_tail
        if count > limit:
            raise FileFormatError(
                "a stored piece unpacks to more than it claims",
                where=place,
                expected=f"{chunk_bytes} bytes",
                found=f"over {count}",
            )


def _never_written(place: str, expected: str, found: str) -> FileFormatError:
    return FileFormatError(
        "the data set was never written", where=place, expected=expected, found=found
    )


def _outside(place: str, file_bytes: int, found: int) -> FileFormatError:
    return FileFormatError(
        "the data lies outside the file",
        where=place,
        expected=f"within {file_bytes} bytes",
        found=f"up to {found}",
    )
