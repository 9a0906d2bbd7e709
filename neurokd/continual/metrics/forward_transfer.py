"""Forward transfer: what earlier tasks gave to those not yet learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurokd.continual.metrics.accuracy_matrix import Rows, accuracy_matrix, require_tasks
from neurokd.errors import ShapeMismatchError


def forward_transfer(rows: Rows, before: Sequence[float]) -> float:
    """Equation: FWT = 1/(T − 1) · Σ_{i ≥ 1} (R[i − 1, i] − b_i), b the fresh network's accuracies.

    With one head for all classes a network that never saw a class hardly ever answers it, so that
    R[i − 1, i] is about 0 and FWT slightly negative, whatever was learned.

    Shapes: ``before`` (T,). Raises: `UsageError` for a single task, `ShapeMismatchError`.
    Source: Lopez-Paz and Ranzato 2017 (arXiv 1706.08840), Eq. 4.
    """
    matrix = accuracy_matrix(rows)
    require_tasks(matrix, "forward transfer")
    if len(before) != len(matrix):
        raise ShapeMismatchError(
            "the accuracies of the fresh network are of other tasks",
            where="before",
            expected=str(len(matrix)),
            found=str(len(before)),
        )
    return float((np.diag(matrix, 1) - np.asarray(before)[1:]).mean())
