"""Neurons that answer several tasks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

SHARE = 0.01


def shared_neurons(frequencies: ArrayLike, least: float = SHARE) -> tuple[int, ...]:
    """For each task how many of its neurons also belong to an earlier one.

    A neuron belongs to a task if it answers at least the part ``least`` of its samples.
    Shapes: (T, r) → T numbers, of which the first is 0.
    """
    belongs = np.asarray(frequencies) >= least
    earlier = np.zeros(belongs.shape[1:], dtype=bool)
    counts = []
    for task in belongs:
        counts.append(int((task & earlier).sum()))
        earlier = earlier | task
    return tuple(counts)
