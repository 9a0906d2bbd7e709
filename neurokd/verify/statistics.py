"""Statistics of a verdict: Wilson's interval of an accuracy, McNemar's exact test of a pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

CONFIDENCE = 0.95


def wilson_interval(correct: int, samples: int) -> tuple[float, float]:
    """95 % Wilson score interval of an accuracy.

    Equation, with p = correct / n and z = 1.96: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n).
    Source: Wilson 1927, as in `scipy.stats.binomtest`.
    """
    interval = binomtest(correct, samples).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_p(reference_right: NDArray[np.bool_], other_right: NDArray[np.bool_]) -> float:
    """Exact two-sided McNemar p-value of two classifiers on the same samples.

    Equation: with b samples that only the reference gets right and c that only the other does,
    2·P(X ≤ min(b, c)) for X ~ Binomial(b + c, ½), at most 1; 1 where b + c = 0.

    Shapes: both (N,). Source: McNemar 1947.
    """
    only_reference = int((reference_right & ~other_right).sum())
    only_other = int((other_right & ~reference_right).sum())
    if only_reference + only_other == 0:
        return 1.0
    return float(binomtest(only_reference, only_reference + only_other, 0.5).pvalue)
