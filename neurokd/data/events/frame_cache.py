"""The cache of frames: one array a data set, made once, then memory-mapped."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurokd.cache import cache_folder, lock
from neurokd.errors import UsageError


def cached(
    label: str, shape: tuple[int, ...], fill: Callable[[int, NDArray[np.uint8]], int]
) -> NDArray[np.uint8]:
    """The array ``label`` of the cache, made by ``fill`` where it is not there yet.

    ``fill(index, frames)`` writes the frames of one recording in place and returns how many events
    it left out. The array appears complete, by rename, under a lock: of several processes one
    makes it, the others wait.

    Shapes: → (N, T, 2, H, W) uint8, a read-only memory map.
    """
    path = cache_folder() / "frames" / f"{label}.npy"
    if not path.is_file():
        with lock(path.with_suffix(".lock"), lambda: _say(f"{label}: another process makes it")):
            if not path.is_file():
                _make(path, shape, fill)
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _make(
    path: Path, shape: tuple[int, ...], fill: Callable[[int, NDArray[np.uint8]], int]
) -> None:
    from rich.console import Console
    from rich.progress import track

    # The lock is held: what a killed process left there belongs to nobody.
    partial = path.with_suffix(".partial")
    size_mb = math.prod(shape) / 1e6
    _say(f"{path.stem}: frames of {shape[0]:,} recordings, {size_mb:,.0f} MB in {path.parent}")
    if size_mb * 1e6 > shutil.disk_usage(path.parent).free:
        raise UsageError(
            "there is no room for the frames",
            where=str(path.parent),
            expected=f"{size_mb:,.0f} MB",
            remedy="make room, or set NEUROKD_CACHE",
        )
    try:
        frames = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        shown = track(
            range(shape[0]),
            description=path.stem,
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        lost = sum(fill(index, frames[index]) for index in shown)
        frames.flush()
        del frames
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if lost:
        _say(f"{path.stem}: {lost:,} events left out, where a pixel had more than a frame can hold")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
