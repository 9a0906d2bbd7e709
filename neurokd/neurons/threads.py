"""Threads that share out work on arrays, each without the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


def in_threads(count: int, unit: int, work: Callable[[int, int], None]) -> None:
    """Calls ``work`` for parts of ``count`` items, as many as torch has threads.

    Each part is a range of items that begins at a multiple of ``unit``. What ``work`` computes
    must not depend on the parts.
    """
    threads = torch.get_num_threads()
    units = -(-count // unit)
    edges = [min(unit * (units * part // threads), count) for part in range(threads + 1)]
    parts = [part for part in zip(edges, edges[1:], strict=False) if part[0] < part[1]]
    if len(parts) < 2:
        work(0, count)
        return
    others = [_executor(os.getpid(), threads).submit(work, *part) for part in parts[1:]]
    try:
        work(*parts[0])
    finally:  # nothing may be freed while a thread still writes to it
        for other in others:
            other.result()


@lru_cache(maxsize=1)
def _executor(process: int, threads: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked one has none of its parent's, and starts its own."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="neurokd-neurons")
