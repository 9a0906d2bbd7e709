"""A file in memory for HDF5 to write to."""

from __future__ import annotations

import io
from typing import Any

import numpy as np


class MemoryFile(io.RawIOBase):
    """A binary file whose content stays in one place as long as ``capacity`` bytes hold it.

    Not on a disk: HDF5 ends the process where one is full. Not `io.BytesIO`: it moves as it grows
    and leaves holes of its earlier sizes behind. Memory is taken only for what is written.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._memory = _zeros(capacity)
        self._size = 0
        self._position = 0

    @property
    def content(self) -> memoryview:
        """What the file holds, not copied."""
        return self._memory[: self._size]

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        target = memoryview(buffer).cast("B")
        source = self.content[self._position : self._position + len(target)]
        target[: len(source)] = source
        self._position += len(source)
        return len(source)

    def write(self, data: Any, /) -> int:
        source = memoryview(data).cast("B")
        end = self._position + len(source)
        self._reserve(end)
        self._memory[self._position : end] = source
        self._position = end
        self._size = max(self._size, end)
        return len(source)

    def truncate(self, size: int | None = None, /) -> int:
        size = self._position if size is None else size
        self._reserve(size)
        if size < self._size:  # a longer file has zeros there
            self._memory[size : self._size] = bytes(self._size - size)
        self._size = size
        return size

    def _reserve(self, size: int) -> None:
        if size > len(self._memory):
            memory = _zeros(2 * size)
            memory[: self._size] = self.content
            self._memory = memory


def _zeros(size: int) -> memoryview:
    return np.zeros(size, dtype=np.uint8).data
