"""Means over seeds, their standard errors, and differences paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mean:
    """A mean of n values and its standard error; of one value the error is unknown.

    Equation: s/√n, s² = Σ(x − mean)²/(n − 1).
    """

    mean: float
    standard_error: float | None
    n: int


@dataclass(frozen=True)
class Difference(Mean):
    """The mean of differences between values of the same seed, and its two-sided p.

    ``p_value`` is that of Student's t test on the paired values; unknown below two pairs, and
    where all differences are equal.
    """

    p_value: float | None

    @property
    def beyond_error(self) -> bool | None:
        """Whether the mean is positive and larger than its standard error; unknown without one."""
        return None if self.standard_error is None else self.mean > self.standard_error


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of at least one value."""
    array = np.asarray(values, dtype=np.float64)
    error = float(array.std(ddof=1)) / math.sqrt(len(array)) if len(array) > 1 else None
    return Mean(float(array.mean()), error, len(array))


def paired(better: Mapping[int, float], worse: Mapping[int, float]) -> Difference | None:
    """The difference of two arms over the seeds that both have; None if there is none."""
    seeds = sorted(better.keys() & worse.keys())
    if not seeds:
        return None
    # Accuracies are counts over thousands: beyond nine digits there is only rounding, which would
    # pass for a spread where all differences are equal.
    differences = [round(better[seed] - worse[seed], 9) for seed in seeds]
    mean = mean_of(differences)
    p_value = None
    if mean.standard_error:
        from scipy.stats import t

        p_value = float(2 * t.sf(abs(mean.mean) / mean.standard_error, mean.n - 1))
    return Difference(mean.mean, mean.standard_error, mean.n, p_value)
