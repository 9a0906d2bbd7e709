"""`LabelledData`: samples with their classes, as every command takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LabelledData:
    """Samples x and classes y.

    Shapes: ``y`` (N,) int64. Static data: ``x`` (N, *shape) float32, images channel-first in
    [0, 1]. Event frames (``events``): ``x`` (N, T, *shape), counts as uint8 or float32, possibly a
    read-only memory map.
    """

    name: str
    x: NDArray[Any]
    y: NDArray[np.int64]
    events: bool = False

    def __post_init__(self) -> None:
        least = 3 if self.events else 2
        if self.y.ndim != 1 or self.x.ndim < least or len(self.x) != len(self.y):
            raise ShapeMismatchError(
                "samples and classes do not fit each other",
                where=self.name,
                expected=f"x (N, {'T, ' if self.events else ''}*shape) and y (N,)",
                found=f"x {self.x.shape} and y {self.y.shape}",
            )
        if not len(self.y):
            raise UsageError("the data set is empty", where=self.name)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample in one step; time is no part of it."""
        return self.x.shape[2:] if self.events else self.x.shape[1:]

    @property
    def steps(self) -> int | None:
        """Frames of each recording, T; None for static data, which any number of steps repeats."""
        return self.x.shape[1] if self.events else None

    @property
    def classes(self) -> int:
        """Number of classes, K: the largest class plus one."""
        return int(self.y.max()) + 1

    def first(self, samples: int | None) -> LabelledData:
        """The first ``samples`` samples, or all of them."""
        if samples is not None and samples < 1:
            raise UsageError(
                "the number of samples must be positive", expected="≥ 1", found=str(samples)
            )
        return replace(self, x=self.x[:samples], y=self.y[:samples])

    def mixed(self) -> LabelledData:
        """All samples, copied, in an order of which every beginning holds each class in proportion.

        Samples of a class stay in their order, and the same data give the same order.
        """
        rank = self._rank_in_class(self.y.argsort(kind="stable"))
        order = ((rank + 0.5) / np.bincount(self.y)[self.y]).argsort(kind="stable")
        return replace(self, x=self.x[order], y=self.y[order])

    def _rank_in_class(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Each sample's place within its class, in an ``order`` that is sorted by class; (N,)."""
        sizes = np.bincount(self.y)
        rank = np.empty(len(self), dtype=np.int64)
        rank[order] = np.arange(len(self)) - (np.cumsum(sizes) - sizes)[self.y[order]]
        return rank

    def batch(
        self, indices: Sequence[int] | NDArray[np.integer[Any]] | Tensor
    ) -> tuple[Tensor, Tensor]:
        """The samples at ``indices``, copied: x (B, [T,] *shape) float32 and y (B,) int64."""
        import torch

        picked = np.asarray(indices)
        x = self.x[picked].astype(np.float32, copy=False)
        return torch.from_numpy(x), torch.from_numpy(self.y[picked])

    def split(self, fraction: float, seed: int) -> tuple[LabelledData, LabelledData]:
        """(rest, held out): of each class's n samples, max(1, ⌊fraction·n + ½⌋) are held out.

        Which ones is drawn from ``seed`` alone; both parts are copies in the order of the data.
        Raises: `UsageError` if ``fraction`` is not between 0 and 1, or if a class has too few
        samples to leave at least one in each part.
        """
        if not 0 < fraction < 1:
            raise UsageError(
                "the fraction to hold out is out of range",
                where=self.name,
                expected="more than 0 and less than 1",
                found=str(fraction),
            )
        sizes = np.bincount(self.y)
        held = np.maximum(1, np.floor(fraction * sizes + 0.5)).astype(np.int64)
        short = np.flatnonzero((sizes > 0) & (held >= sizes))
        if len(short):
            raise UsageError(
                f"class {short[0]} has too few samples to hold out {fraction:g} of them",
                where=self.name,
                expected="at least one sample in each part",
                found=f"{sizes[short[0]]} in all",
                remedy="give more samples or another fraction",
            )
        # Sorted by class and, within it, at random: the rank within the class decides.
        order = np.lexsort((np.random.default_rng(seed).random(len(self)), self.y))
        out = self._rank_in_class(order) < held[self.y]
        rest, held_out = np.flatnonzero(~out), np.flatnonzero(out)
        return (
            replace(self, name=f"{self.name} (rest)", x=self.x[rest], y=self.y[rest]),
            replace(self, name=f"{self.name} (held out)", x=self.x[held_out], y=self.y[held_out]),
        )
