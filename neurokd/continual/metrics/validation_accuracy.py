"""Val.Acc: accuracy on what was seen so far, times the part of the stream that it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurokd.errors import ShapeMismatchError


def validation_accuracy(row: Sequence[float], samples: Sequence[int], seen: int) -> float:
    """The number that SDMLP and SSD report; at the end it is the accuracy on the whole test set.

    Equation: A = (seen / T) · Σ_{j < seen} n_j R_j / Σ_{j < seen} n_j, n_j test samples of task j.

    Shapes: ``row`` and ``samples`` (T,). Raises: `ShapeMismatchError`.
    Source: reference code of SDMLP (Bricken et al. 2023).
    """
    tasks = len(row)
    if len(samples) != tasks or not 1 <= seen <= tasks:
        raise ShapeMismatchError(
            "accuracies and test samples are not of the same tasks",
            where="validation_accuracy",
            expected=f"{tasks} tasks, 1 … {tasks} of them seen",
            found=f"{len(samples)} tasks, {seen} seen",
        )
    pooled = np.average(np.asarray(row[:seen]), weights=np.asarray(samples[:seen]))
    return float(pooled) * seen / tasks
