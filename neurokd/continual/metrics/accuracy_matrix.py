"""R: the accuracy on every task after every task, from which the other metrics are made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UsageError

Rows = Sequence[Sequence[float]] | NDArray[np.float64]
"""R as it is stored: row i after task i, column j for task j, both from 0."""


def accuracy_matrix(rows: Rows) -> NDArray[np.float64]:
    """R (T, T): R[i, j] is the accuracy, 0 … 1, on the test samples of task j after task i.

    Columns j > i are of tasks not yet learned. Raises: `ShapeMismatchError` unless it is square,
    `UsageError` for a number that is no accuracy.
    """
    lengths = {len(row) for row in rows}
    if lengths != {len(rows)}:
        raise ShapeMismatchError(
            "an accuracy matrix has a row and a column for each task",
            where="R",
            expected="(T, T)",
            found=f"{len(rows)} rows of {sorted(lengths)}",
        )
    matrix = np.asarray(rows, dtype=np.float64)
    wrong = matrix[~((matrix >= 0) & (matrix <= 1))]
    if len(wrong):
        raise UsageError("this is no accuracy", where="R", expected="0 … 1", found=str(wrong[0]))
    return matrix


def require_tasks(matrix: NDArray[np.float64], what: str) -> None:
    """Raise `UsageError` unless there are two tasks: with one, nothing is transferred."""
    if len(matrix) < 2:
        raise UsageError(f"{what} needs at least two tasks", where="R", found=str(len(matrix)))
