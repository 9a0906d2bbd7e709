"""The grid of the chip's weights, and rounding to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokd.export.linear_maps import Floats

_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class WeightGrid:
    """Weights of mixed sign in ``bits`` bits: multiples of 2^(9 − bits) from −256 to below 256."""

    bits: int

    @property
    def step(self) -> int:
        """Distance of neighbours; 8 bits hold even integers."""
        return 1 << (9 - self.bits)

    @property
    def top(self) -> int:
        """The largest weight."""
        return 256 - self.step


def round_weights(scaled: Floats, grid: WeightGrid) -> NDArray[np.int32]:
    """The nearest weights on the grid; what lies outside is clipped."""
    steps = np.rint(scaled / grid.step)
    return (np.clip(steps, -256 // grid.step, grid.top // grid.step) * grid.step).astype(np.int32)


def round_matrix(scaled: Floats, grid: WeightGrid) -> NDArray[np.int32]:
    """Dense weights on the grid, the rounding of repeated columns diffused over them.

    Columns that repeat (all positions of a pooling window) are rounded so that their sum, not each
    of them, is nearest: n copies of w become copies of the two neighbours of w whose sum is n w to
    half a step. Which copies are rounded up is spread evenly, and differs from row to row.
    A column that is alone is rounded as usual.
    """
    result = round_weights(scaled, grid)
    for columns in _repeated(scaled):
        copies = len(columns)
        value = scaled[:, columns[0]] / grid.step
        total = np.rint(value * copies)
        low = np.floor(total / copies)
        raised = (total - low * copies).astype(int)
        order = np.argsort(np.arange(1, copies + 1) * _GOLDEN % 1.0)
        rank = np.empty(copies, dtype=int)
        rank[order] = np.arange(copies)
        turned = (np.arange(copies) - 7 * np.arange(len(scaled))[:, None]) % copies
        up = rank[turned] < raised[:, None]
        result[:, columns] = round_weights((low[:, None] + up) * grid.step, grid)
    return result


def diffused(error: Floats, matrix: Floats) -> Floats:
    """The error of each weight once that of repeated columns has spread over them: their mean.

    Sources behind repeated columns are summed, so only the sum of their errors matters.
    """
    spread = error.copy()
    for columns in _repeated(matrix):
        spread[:, columns] = error[:, columns].mean(axis=1, keepdims=True)
    return spread


def _repeated(matrix: Floats) -> list[list[int]]:
    """Groups of equal columns, those of more than one."""
    groups: dict[bytes, list[int]] = {}
    for index, column in enumerate(np.ascontiguousarray(matrix.T)):
        groups.setdefault(column.tobytes(), []).append(index)
    return [group for group in groups.values() if len(group) > 1]
