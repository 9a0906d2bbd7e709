"""Proofs that a sum of integers comes out exact: bounds on what a projection can accumulate."""

from __future__ import annotations

from typing import Literal

import numpy as np

from neurokd.errors import CapacityError
from neurokd.hardware.projection import Projection

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
INT32_LIMIT = 1 << 31


def accumulation_bound(projection: Projection, max_message: int) -> int:
    """The largest |Σ w s| that any output of the projection, and any part of its sum, can reach.

    Equation: max over outputs of Σ |w| · max message, before ``weight_exp``.
    """
    weight = np.abs(projection.effective_weight.astype(np.int64))
    rows = weight.reshape(weight.shape[0], -1).sum(axis=1)
    return int(rows.max(initial=0)) * max_message


def exact_dtype(bound: int, where: str) -> Literal["float32", "float64"]:
    """The narrowest float type in which sums of integers up to ``bound`` are exact in any order.

    Every product and every partial sum is an integer of at most ``bound``; floats hold all integers
    below 2²⁴ (float32) or 2⁵³ (float64).

    Raises: `CapacityError` when neither does.
    """
    if bound < FLOAT32_EXACT:
        return "float32"
    if bound < FLOAT64_EXACT:
        return "float64"
    raise CapacityError(
        "this projection's sums can grow too large to be computed exactly",
        where=where,
        expected="Σ|w|·message < 2^53",
        found=f"2^{bound.bit_length() - 1} or more",
        remedy="use smaller weights or messages of fewer bits",
    )
