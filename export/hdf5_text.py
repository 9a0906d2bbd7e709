"""Texts of varying length in an HDF5 file, read without HDF5.

HDF5 walks the heap that holds them without bounds: one flipped bit made it allocate gigabytes, or
never return (measured with HDF5 2.0.0). Source: HDF5 File Format Specification 3.0, III.E (Global
Heap) and IV.A.2.d, class 9 (Variable-Length).
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from neurokd.errors import FileFormatError

MAX_TEXT_BYTES = 16 << 20
_REFERENCE = 16  # length (4), address of a heap (8), index in it (4)
_HEADER = 16  # of a heap, and of each object in it


class TextReader:
    """Reads texts out of the bytes of a file, `MAX_TEXT_BYTES` in all.

    Many texts may share one place in the heap, so that few bytes could become many.
    """

    def __init__(self, stream: h5py.File, content: bytes) -> None:
        sizes = stream.id.get_create_plist().get_sizes()
        if sizes != (8, 8) or stream.userblock_size:
            raise FileFormatError(
                "this kind of HDF5 file is not read here",
                expected="offsets and lengths of 8 bytes, no user block",
                found=f"{sizes}, {stream.userblock_size}",
            )
        self._content = content
        self._heaps: dict[int, dict[int, bytes]] = {}
        self._total = 0

    def read(self, item: h5py.Dataset) -> Any:
        """A str for a single text, else an array of bytes objects.

        Raises: `FileFormatError` where the heap is damaged or the texts are too long.
        """
        offset, size = item.id.get_offset(), int(item.size) * _REFERENCE
        if offset is None or item.id.get_storage_size() != size:
            raise FileFormatError(
                "texts of varying length are not stored in one piece",
                where=item.name,
                expected=f"{size} bytes",
                found=str(item.id.get_storage_size()),
            )
        raw = self._content[offset : offset + size]
        if len(raw) < size:
            raise FileFormatError(
                "the text lies outside the file",
                where=item.name,
                expected=f"within {len(self._content)} bytes",
                found=f"up to {offset + size}",
            )
        texts = np.empty(int(item.size), dtype=object)
        for i in range(len(texts)):
            texts[i] = self._text(raw[i * _REFERENCE : (i + 1) * _REFERENCE], item.name)
        return texts[0].decode() if item.shape == () else texts.reshape(item.shape)

    def _text(self, reference: bytes, name: str) -> bytes:
        length, address = _int(reference[:4]), _int(reference[4:12])
        if not length:
            return b""
        if address not in self._heaps:
            self._heaps[address] = self._heap(address, name)
        text = self._heaps[address].get(_int(reference[12:]))
        if text is None or len(text) < length:
            raise _damaged(name)
        self._total += length
        if self._total > MAX_TEXT_BYTES:
            raise FileFormatError(
                "the texts are too long",
                where=name,
                expected=f"≤ {MAX_TEXT_BYTES} bytes in all",
                found=f"{self._total} up to here",
            )
        return text[:length].rstrip(b"\0")

    def _heap(self, address: int, name: str) -> dict[int, bytes]:
        """The objects of one heap by their index."""
        header = self._content[address : address + _HEADER]
        size = _int(header[8:])
        if len(header) < _HEADER or header[:5] != b"GCOL\1":
            raise _damaged(name)
        end = min(address + size, len(self._content))
        objects: dict[int, bytes] = {}
        at = address + _HEADER
        while at + _HEADER <= end:
            index, length = _int(self._content[at : at + 2]), _int(self._content[at + 8 : at + 16])
            start = at + _HEADER
            if not index:  # what is free
                break
            if start + length > end:
                raise _damaged(name)
            objects[index] = self._content[start : start + length]
            at = start + -(-length // 8) * 8
        return objects


def _int(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _damaged(name: str) -> FileFormatError:
    return FileFormatError(
        "the heap that holds this text is damaged",
        where=name,
        expected="a global heap object",
        found="other bytes",
    )
