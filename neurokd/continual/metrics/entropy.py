"""Activation entropy: how undecided it is whether a neuron answers a sample, in bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def activation_entropy(frequency: ArrayLike) -> NDArray[np.float64]:
    """Entropy of each neuron that answers the part p of all samples; 0 for p = 0 and p = 1.

    Equation: H_i = −p_i log₂ p_i − (1 − p_i) log₂(1 − p_i), in bits: a mean of 0.99, which the
    paper has, is beyond ln 2.

    Low entropy does not mean often active: a neuron that hardly ever answers has it, too.
    Shapes: (r,) → (r,). Source: Xue et al. (SSD), Eq. 1.
    """
    p = np.asarray(frequency, dtype=np.float64)
    return _part(p) + _part(1 - p)


def entropy_ceiling(k: float, neurons: int) -> float:
    """What the mean of H over r neurons cannot exceed when k of them answer a sample on average.

    Equation: mean_i H(p_i) ≤ H(mean_i p_i) = H(k / r), as H is concave; 0.0114 bits for k = 10 of
    10,000. Equal if all answer equally often.
    """
    return float(activation_entropy(k / neurons))


def _part(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """−p log₂ p, and its limit 0 at p = 0."""
    return -p * np.log2(np.where(p > 0, p, 1.0))
