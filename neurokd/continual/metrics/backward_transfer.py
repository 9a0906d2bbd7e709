"""BWT: what learning later tasks did to earlier ones."""

from __future__ import annotations

import numpy as np

from neurokd.continual.metrics.accuracy_matrix import Rows, accuracy_matrix, require_tasks


def backward_transfer(rows: Rows) -> float:
    """Negative where tasks were forgotten: the higher, the better.

    Equation: BWT = 1/(T − 1) · Σ_{i < T−1} (R[T − 1, i] − R[i, i]).

    Raises: `UsageError` for a single task.
    Source: Xue et al. (SSD), Eq. 7; Lopez-Paz and Ranzato 2017 (arXiv 1706.08840).
    """
    matrix = accuracy_matrix(rows)
    require_tasks(matrix, "backward transfer")
    return float((matrix[-1] - np.diag(matrix))[:-1].mean())
