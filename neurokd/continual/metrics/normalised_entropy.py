"""Normalised entropy: how evenly the answers are spread over the neurons."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def normalised_entropy(frequency: ArrayLike) -> float:
    """1 if all neurons answer equally often, 0 if one neuron gives all answers.

    Equation: −Σ_i q_i log q_i / log r, q = p / Σ p. Without any answer it is 0.
    Shapes: (r,) → number.
    """
    p = np.asarray(frequency, dtype=np.float64)
    if len(p) < 2 or not p.sum() > 0:
        return 0.0
    q = p / p.sum()
    return float(-(q * np.log(np.where(q > 0, q, 1.0))).sum() / np.log(len(p)))
