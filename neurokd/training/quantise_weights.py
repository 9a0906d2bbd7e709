"""Quantised weights: learnt in floats, handed out as the integers that the chip stores."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurokd.export.float_network import FloatProjection
from neurokd.export.weight_grid import WeightGrid, round_matrix, shifted


class QuantisedWeights(nn.Module):
    """The weights of a projection; the gradient passes straight through their rounding.

    Equation: W = 2^e · round(factor · θ / n), factor = A / (m 2^e), ∂W/∂θ := 2^e · factor / n.
    Taps, or columns, that are equal from the start (a pooling window's, n of them) stay equal and
    share one θ, and are rounded together as `round_matrix` does; columns of zeros stay zero. A
    projection whose weights are all the same (an identity, a pool) is structure and is not learnt.

    Source: straight-through estimator, Bengio et al. 2013 (arXiv 1308.3432).
    """

    def __init__(
        self, projection: FloatProjection, factor: float, exponent: int, grid: WeightGrid
    ) -> None:
        super().__init__()
        self.projection = projection
        self.factor, self.exponent, self.grid = factor, exponent, grid
        weight = projection.weight
        matrix = weight if weight.ndim == 2 else weight.reshape(-1, int(np.prod(weight.shape[2:])))
        unique, self._place, self._copies = _unique_columns(matrix)
        self.learnt = bool(weight.size == 1 or np.ptp(weight) > 0)
        start = (unique * self._copies).astype(np.float32)
        self.theta = nn.Parameter(torch.from_numpy(start), requires_grad=self.learnt)
        self._used = torch.from_numpy(unique.any(axis=0))
        columns = [np.flatnonzero(self._place == u) for u in range(unique.shape[1])]
        self._columns = columns
        self._repeated = [c for c in columns if len(c) > 1] if weight.ndim == 2 else []

    def integers(self) -> NDArray[np.int32]:
        """What the chip stores, before the exponent; of the projection's shape."""
        theta = self.theta.detach().double().cpu().numpy()
        spread = (theta / self._copies)[:, self._place].reshape(self.projection.weight.shape)
        return round_matrix(spread * self.factor, self.grid, self._repeated)

    @property
    def snapped(self) -> Tensor:
        """θ as the integers have it. Shapes: (rows, distinct columns), float64."""
        stored = self.integers().reshape(-1, len(self._place))
        sums = [stored[:, columns].sum(axis=1) for columns in self._columns]
        return torch.from_numpy(np.stack(sums, axis=1) / self.factor)

    def forward(self) -> Tensor:
        """W, whole numbers in float32, of the projection's shape."""
        spread = self.theta * self._used / torch.from_numpy(self._copies.astype(np.float32))
        spread = spread[:, torch.from_numpy(self._place)].reshape(self.projection.weight.shape)
        whole = torch.from_numpy(shifted(self.integers(), self.exponent)).to(torch.float32)
        scale = self.factor * 2.0**self.exponent
        answer: Tensor = _StraightThrough.apply(spread, whole, scale)  # type: ignore[no-untyped-call]
        return answer


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, whole: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.scale, None, None


def _unique_columns(
    matrix: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Distinct columns in the order they first appear, where each column finds its own, counts."""
    _, first, place, counts = np.unique(
        matrix, axis=1, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    rank = np.argsort(order)
    return (
        matrix[:, first[order]],
        rank[place.reshape(-1)],
        counts[order].astype(np.float64),
    )
