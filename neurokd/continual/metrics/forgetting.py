"""Forgetting: the loss since each task was known best."""

from __future__ import annotations

from neurokd.continual.metrics.accuracy_matrix import Rows, accuracy_matrix, require_tasks


def forgetting(rows: Rows) -> float:
    """Equation: F = 1/(T − 1) · Σ_{j < T−1} (max_{i < T−1} R[i, j] − R[T − 1, j]).

    Unlike −BWT it counts from the best accuracy that a task ever had before the last task.
    Raises: `UsageError` for a single task.
    Source: Chaudhry et al. 2018 (arXiv 1801.10112), section 3.
    """
    matrix = accuracy_matrix(rows)
    require_tasks(matrix, "forgetting")
    best = matrix[:-1, :-1].max(axis=0)
    return float((best - matrix[-1, :-1]).mean())
