"""Average accuracy: the plain mean over the tasks at the end."""

from __future__ import annotations

from neurokd.continual.metrics.accuracy_matrix import Rows, accuracy_matrix


def average_accuracy(rows: Rows) -> float:
    """Equation: A = mean_j R[T − 1, j]; every task counts alike, however many samples it has.

    Source: Lopez-Paz and Ranzato 2017 (arXiv 1706.08840), section 2.
    """
    return float(accuracy_matrix(rows)[-1].mean())
