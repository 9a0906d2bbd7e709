"""Memory that the C library keeps for the next training step instead of giving it back."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""What mallopt(3) can set; of glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Lets malloc hand out freed memory again, of whatever size; whether this C library can.

    By default glibc takes blocks beyond 32 MB from the system and returns them when freed. The
    feature maps of all time steps together are such blocks: without this, about a quarter of a
    training step of the convolutional benchmark is spent on new pages. It holds for the rest of
    the process, which keeps as much memory as it ever used.

    Source: mallopt(3) of glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 2**30)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
