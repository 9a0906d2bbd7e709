"""The winners of a sample, found without sorting all of its activations.

Maxima of groups of activations give a bound that at least k + 1 activations reach; only those that
reach it are ranked. Two passes over a row in the nearest caches take the place of a sort.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.continual.sparse_vectors import (
    BLOCK,
    at_least,
    block_maxima,
    count_at_least,
    over_scaled,
)
from neurokd.hardware.kernel_compiler import compiled, lowest_bit

GROUPS_PER_WINNER = 4
"""Groups for each value that is ranked: the more, the tighter the bound."""
HALVINGS = 8
MOST_COUNTED = 256
"""Values up to which comparing all with all is faster than partitioning them."""
LEAST_POSITIVE = np.float32(1e-45)

Floats = NDArray[Any]
Integers = NDArray[Any]


@compiled
def partitioned(values: Floats, count: int, rank: int) -> Any:
    """The rank-th largest of the first ``count`` values, which change places."""
    low, high, place = 0, count - 1, rank - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if place <= j:
            high = j
        elif place >= i:
            low = i
        else:
            break
    return values[place]


@compiled
def counted(values: Floats, blocks: int, least: Any) -> int:
    """How many of the first ``blocks`` · BLOCK values are ≥ ``least``."""
    count = 0
    for block in range(blocks):
        count += count_at_least(values, block * BLOCK, least)
    return count


@compiled
def bound(values: Floats, blocks: int, rank: int) -> Any:
    """A number that at least ``rank`` of the first ``blocks`` · BLOCK values reach, and few more.

    It halves the range of the values a few times: without branches that depend on them.
    """
    low, high = values[0], values[0]
    for i in range(1, blocks * BLOCK):
        low, high = min(low, values[i]), max(high, values[i])
    for _ in range(HALVINGS):
        middle = np.float32(0.5) * (low + high)
        if counted(values, blocks, middle) >= rank:
            low = middle
        else:
            high = middle
    return low


@compiled
def ranked(values: Floats, count: int, rank: int) -> Any:
    """The rank-th largest of the first ``count`` values, which are positive; 0 if fewer.

    Equation: max{v : #{values ≥ v} ≥ rank}. Values change places, and BLOCK more are overwritten.
    """
    if count < rank:
        return np.float32(0)
    if count > MOST_COUNTED:
        return partitioned(values, count, rank)
    blocks = -(-count // BLOCK)
    values[count : blocks * BLOCK] = 0
    best = np.float32(0)
    for i in range(count):
        enough = counted(values, blocks, values[i]) >= rank
        best = max(best, values[i] if enough else np.float32(0))
    return best


@compiled
def largest(values: Floats, start: int, size: int, rank: int, scratch: Floats) -> Any:
    """The rank-th largest of the positive parts of values[start : start + size].

    ``scratch`` has room for ``size`` + BLOCK values.
    """
    blocks = size // BLOCK
    parts = -(-GROUPS_PER_WINNER * rank // BLOCK)
    least = LEAST_POSITIVE
    if blocks >= GROUPS_PER_WINNER * parts:
        for part in range(parts):
            first, last = blocks * part // parts, blocks * (part + 1) // parts
            block_maxima(values, start + first * BLOCK, last - first, scratch, part * BLOCK)
        least = max(bound(scratch, parts, rank), LEAST_POSITIVE)
    found = 0
    for block in range(blocks):
        place = start + block * BLOCK
        mask = at_least(values, place, least)
        while mask != 0:
            scratch[found] = values[place + lowest_bit(mask)]
            mask &= mask - np.uint64(1)
            found += 1
    for place in range(start + blocks * BLOCK, start + size):
        if values[place] >= least:
            scratch[found] = values[place]
            found += 1
    return ranked(scratch, found, rank)


@compiled
def active(
    values: Floats,
    start: int,
    size: int,
    gains: Floats,
    begin: int,
    inhibition: Any,
    which: Integers,
    heights: Floats,
    at: int,
    room: int,
) -> int:
    """Neurons i with h = max(a_i, 0) − g_i I > 0, in order, and their h; −1 if more than ``room``.

    a is values[start : start + size], g gains[begin : begin + size]; results from ``at`` on.
    """
    found = 0
    blocks = size // BLOCK
    for block in range(blocks):
        first = block * BLOCK
        mask = over_scaled(values, start + first, gains, begin + first, inhibition)
        while mask != 0:
            i = first + lowest_bit(mask)
            mask &= mask - np.uint64(1)
            if found == room:
                return -1
            which[at + found] = i
            heights[at + found] = (
                max(values[start + i], np.float32(0)) - gains[begin + i] * inhibition
            )
            found += 1
    for i in range(blocks * BLOCK, size):
        height = max(values[start + i], np.float32(0)) - gains[begin + i] * inhibition
        if height > 0:
            if found == room:
                return -1
            which[at + found] = i
            heights[at + found] = height
            found += 1
    return found
