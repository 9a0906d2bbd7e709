"""Matrix products with spikes, which skip the zeros, compiled for one processor core.

The dense operand is taken in blocks that stay in the nearest cache while the spikes pass by.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_compiler import compiled, lowest_bit
from neurokd.neurons.event_vectors import MASK_BITS, WIDTH, add_scaled_rows, nonzero_floats

ROWS = 128
"""Rows of the spikes that are taken together; WIDTH columns of as many fill the nearest cache."""

Floats = NDArray[Any]


@compiled
def product(
    spikes: Floats, columns: int, weight: Floats, outputs: int, start: int, stop: int, out: Floats
) -> None:
    """out[r] += Σᵢ spikes[r, i] weight[i] for the rows start … stop − 1; all of them flat.

    ``columns`` divides by MASK_BITS, ``outputs`` by WIDTH.
    """
    parts = -(-columns // ROWS)
    which = np.empty(ROWS * columns, np.int32)
    values = np.empty(ROWS * columns, np.float32)
    bounds = np.empty((ROWS, parts + 1), np.int64)
    for first in range(start, stop, ROWS):
        size = min(ROWS, stop - first)
        found = 0
        for r in range(size):
            row = (first + r) * columns
            for part in range(parts):
                bounds[r, part] = found
                for column in range(part * ROWS, min((part + 1) * ROWS, columns), MASK_BITS):
                    mask = nonzero_floats(spikes, row + column)
                    while mask != 0:
                        i = column + lowest_bit(mask)
                        mask &= mask - np.uint64(1)
                        which[found] = i
                        values[found] = spikes[row + i]
                        found += 1
            bounds[r, parts] = found
        for block in range(0, outputs, WIDTH):
            for part in range(parts):
                for r in range(size):
                    add_scaled_rows(
                        out,
                        (first + r) * outputs + block,
                        weight,
                        block * columns,
                        WIDTH,
                        which,
                        values,
                        bounds[r, part],
                        bounds[r, part + 1],
                    )


@compiled
def transposed_product(
    spikes: Floats,
    rows: int,
    columns: int,
    given: Floats,
    outputs: int,
    start: int,
    stop: int,
    out: Floats,
) -> None:
    """out[i] += Σᵣ spikes[r, i] given[r] for the columns start … stop − 1 of the spikes; all flat.

    ``start`` and ``stop`` divide by MASK_BITS, ``outputs`` by WIDTH.
    """
    which = np.empty(MASK_BITS * ROWS, np.int16)
    values = np.empty(MASK_BITS * ROWS, np.float32)
    ends = np.empty(MASK_BITS, np.int64)
    packed = np.empty(ROWS * outputs, np.float32)
    for first in range(0, rows, ROWS):
        size = min(ROWS, rows - first)
        for r in range(size):  # rows that lie far apart would share few places of the cache
            for block in range(0, outputs, WIDTH):
                place = (first + r) * outputs + block
                to = block * ROWS + r * WIDTH
                packed[to : to + WIDTH] = given[place : place + WIDTH]
        for left in range(start, stop, MASK_BITS):
            for i in range(MASK_BITS):
                ends[i] = i * ROWS
            for r in range(size):
                place = (first + r) * columns + left
                mask = nonzero_floats(spikes, place)
                while mask != 0:
                    i = lowest_bit(mask)
                    mask &= mask - np.uint64(1)
                    end = ends[i]
                    which[end] = r
                    values[end] = spikes[place + i]
                    ends[i] = end + 1
            for block in range(0, outputs, WIDTH):
                for i in range(MASK_BITS):
                    add_scaled_rows(
                        out,
                        (left + i) * outputs + block,
                        packed,
                        block * ROWS,
                        WIDTH,
                        which,
                        values,
                        i * ROWS,
                        ends[i],
                    )


@compiled
def nonzero(values: Floats) -> int:
    """How many of the flat values are not zero."""
    count = 0
    for i in range(values.size):
        count += values[i] != 0
    return count
