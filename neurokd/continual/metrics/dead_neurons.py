"""Neurons that answer nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

DEAD_BELOW = 1e-4


def dead_neurons(summed_activation: ArrayLike) -> int:
    """How many have less than `DEAD_BELOW` of activation, summed over all samples; (r,) → number.

    Source: reference code of SDMLP (Bricken et al. 2023).
    """
    return int((np.asarray(summed_activation) < DEAD_BELOW).sum())
