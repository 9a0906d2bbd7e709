"""Jaccard similarity of two sets of neurons, and the set of those that answer most often."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def most_active(frequency: ArrayLike, count: int) -> NDArray[np.int64]:
    """The ``count`` neurons that answer most often, most often first; of equals the lower index."""
    p = np.asarray(frequency, dtype=np.float64)
    return np.argsort(-p, kind="stable")[:count].astype(np.int64)


def jaccard(one: Iterable[int], other: Iterable[int]) -> float:
    """Equation: |A ∩ B| / |A ∪ B|; 1 for two empty sets. Source: Xue et al. (SSD), Eq. 8."""
    a, b = set(map(int, one)), set(map(int, other))
    return len(a & b) / len(a | b) if a | b else 1.0
