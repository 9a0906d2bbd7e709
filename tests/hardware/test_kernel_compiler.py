"""The vector operations of the kernels against numpy, wrap-around included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.hardware.kernel_compiler import (
    LANES,
    MASK_BITS,
    add_four_vectors,
    add_scaled_vector,
    add_vector,
    compiled,
    lowest_bit,
    nonzero_mask,
)


@compiled
def add_all(total: Any, row: Any) -> None:
    add_vector(total, 1, row, 3)
    add_four_vectors(total, 2, row, 0, 5, 9, 2)


@compiled
def add_scaled(total: Any, row: Any, factor: int) -> None:
    add_scaled_vector(total, 1, row, 3, factor)


@compiled
def set_bits(values: Any, found: Any) -> int:
    mask = nonzero_mask(values, 1)
    listed = 0
    while mask != 0:
        found[listed] = lowest_bit(mask)
        listed += 1
        mask &= mask - np.uint64(1)
    return listed


@pytest.mark.parametrize("wide", [np.int16, np.int32])
@pytest.mark.parametrize("narrow", [np.int8, np.int16, np.int32])
def test_vectors_are_added(wide: type[Any], narrow: type[Any]) -> None:
    if np.dtype(narrow).itemsize > np.dtype(wide).itemsize:
        return
    rng = np.random.default_rng(0)
    limits, own = np.iinfo(wide), np.iinfo(narrow)
    row = rng.integers(own.min, own.max, LANES + 9, endpoint=True).astype(narrow)
    before = rng.integers(limits.min, limits.max, LANES + 3, endpoint=True).astype(wide)
    total, expected = before.copy(), before.astype(np.int64)
    add_all(total, row)
    expected[1 : 1 + LANES] += row[3 : 3 + LANES]
    for start in (0, 5, 9, 2):
        expected[2 : 2 + LANES] += row[start : start + LANES].astype(np.int64)
    np.testing.assert_array_equal(total, expected.astype(wide))
    if wide is np.int32:
        total, expected = before.copy(), before.astype(np.int64)
        add_scaled(total, row, -77_777)
        expected[1 : 1 + LANES] += row[3 : 3 + LANES].astype(np.int64) * -77_777
        np.testing.assert_array_equal(total, expected.astype(wide))


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_bits_of_the_bytes_that_are_not_zero(share: float) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(1, 256, MASK_BITS + 1).astype(np.uint8)
    values[rng.random(MASK_BITS + 1) >= share] = 0
    found = np.zeros(MASK_BITS, dtype=np.int64)
    listed = set_bits(values, found)
    np.testing.assert_array_equal(found[:listed], np.flatnonzero(values[1:]))
