"""The grid of the chip's weights, and rounding to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokd.export.linear_maps import Floats

_GOLDEN = 0.6180339887498949

Columns = Sequence[NDArray[np.intp]]
"""Groups of equal columns, (copies,) of one group or (groups, copies) of several."""


@dataclass(frozen=True)
class WeightGrid:
    """Weights of mixed sign in ``bits`` bits: multiples of 2^(9 − bits) from −256 to below 256."""

    bits: int

    @property
    def step(self) -> int:
        """Distance of neighbours; 8 bits hold even integers."""
        return 1 << (9 - self.bits)

    @property
    def lowest_exponent(self) -> int:
        """The exponent down to which shifted weights are whole numbers, so that no sum is rounded:
        (Σ W s) 2^e = Σ (W 2^e) s."""
        return self.bits - 9

    @property
    def top(self) -> int:
        """The largest weight; with 1 bit it is 0, and −256 the only other one."""
        return 256 - self.step

    @property
    def span(self) -> int:
        """The magnitude that scales are searched around: `top`, with 1 bit the lowest weight's."""
        return self.top or 256


def round_weights(scaled: Floats, grid: WeightGrid) -> NDArray[np.int32]:
    """The nearest weights on the grid; what lies outside is clipped."""
    return _nearest(scaled, grid).astype(np.int32)


def _nearest(scaled: Floats, grid: WeightGrid) -> Floats:
    steps: Floats = scaled / grid.step
    np.rint(steps, out=steps)
    np.clip(steps, -256 // grid.step, grid.top // grid.step, out=steps)
    steps *= grid.step
    return steps


def shifted(weight: NDArray[np.int32], exponent: int) -> NDArray[np.int32]:
    """W 2^e; exact for weights on a grid and an exponent that is not below its lowest."""
    return weight << exponent if exponent >= 0 else weight >> -exponent


def round_matrix(
    scaled: Floats, grid: WeightGrid, repeated: Columns | None = None
) -> NDArray[np.int32]:
    """Dense weights on the grid, the rounding of repeated columns diffused over them.

    Columns that repeat (all positions of a pooling window) are rounded so that their sum, not each
    of them, is nearest: n copies of w become copies of the two neighbours of w whose sum is n w to
    half a step. Which copies are rounded up is spread evenly, and differs from row to row.
    A column that is alone is rounded as usual. ``repeated``: what `repeated_columns` found.
    """
    return nearest_matrix(scaled, grid, repeated).astype(np.int32)


def nearest_matrix(scaled: Floats, grid: WeightGrid, repeated: Columns | None = None) -> Floats:
    """What `round_matrix` gives, still as floats."""
    result = _nearest(scaled, grid)
    for columns in repeated_columns(scaled) if repeated is None else repeated:
        columns = np.atleast_2d(columns)
        copies = columns.shape[1]
        value = scaled[:, columns[:, 0]] / grid.step
        total = np.rint(value * copies)
        low = np.floor(total / copies)
        raised = (total - low * copies).astype(int)
        order = np.argsort(np.arange(1, copies + 1) * _GOLDEN % 1.0)
        rank = np.empty(copies, dtype=int)
        rank[order] = np.arange(copies)
        turned = (np.arange(copies) - 7 * np.arange(len(scaled))[:, None]) % copies
        up = rank[turned][:, None] < raised[:, :, None]
        result[:, columns] = _nearest((low[:, :, None] + up) * grid.step, grid)
    return result


def diffused(error: Floats, matrix: Floats, repeated: Columns | None = None) -> Floats:
    """The error of each weight once that of repeated columns has spread over them: their mean.

    Sources behind repeated columns are summed, so only the sum of their errors matters.
    """
    spread = error.copy()
    for columns in repeated_columns(matrix) if repeated is None else repeated:
        columns = np.atleast_2d(columns)
        spread[:, columns] = error[:, columns].mean(axis=2, keepdims=True)
    return spread


def repeated_columns(matrix: Floats) -> Columns:
    """Groups of equal columns, those of more than one; an array for each number of copies."""
    groups: dict[bytes, list[int]] = {}
    for index, column in enumerate(np.ascontiguousarray(matrix.T)):
        groups.setdefault(column.tobytes(), []).append(index)
    by_copies: dict[int, list[list[int]]] = {}
    for group in groups.values():
        if len(group) > 1:
            by_copies.setdefault(len(group), []).append(group)
    return [np.array(same, dtype=np.intp) for same in by_copies.values()]
