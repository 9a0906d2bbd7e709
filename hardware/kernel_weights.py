"""Weights as the kernels keep them: few bytes, rows of whole vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_compiler import LANES


def common_shift(weight: NDArray[np.int32]) -> int:
    """The largest k for which 2ᵏ divides every weight; 0 where all are 0."""
    bits = int(np.bitwise_or.reduce(weight, axis=None))
    return (bits & -bits).bit_length() - 1 if bits else 0


def narrowest(weight: NDArray[np.int32]) -> NDArray[Any]:
    """The weights in the first of int8, int16, int32 that holds them all."""
    low, high = int(weight.min(initial=0)), int(weight.max(initial=0))
    for kind in (np.int8, np.int16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.ascontiguousarray(weight, dtype=kind)
    return np.ascontiguousarray(weight, dtype=np.int32)


def padded_to_lanes(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """The rows with zeros up to a multiple of `LANES` columns."""
    missing = -rows.shape[-1] % LANES
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, missing)])
