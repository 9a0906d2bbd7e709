"""Proofs that a sum of integers comes out exact: bounds on what synapses can accumulate."""

from __future__ import annotations

from typing import Literal

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
INT32_LIMIT = 1 << 31


def exact_dtype(bound: int) -> Literal["float32", "float64"] | None:
    """The narrowest float type in which sums of integers up to ``bound`` are exact in any order.

    Every product and every partial sum is an integer of at most ``bound``; floats hold all integers
    below 2²⁴ (float32) or 2⁵³ (float64). None: neither does.
    """
    if bound < FLOAT32_EXACT:
        return "float32"
    if bound < FLOAT64_EXACT:
        return "float64"
    return None
