"""`LabelledData`: samples with their classes, as every command takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UsageError


@dataclass(frozen=True)
class LabelledData:
    """Samples x and classes y.

    Shapes: ``x`` (N, *shape) float32, images channel-first in [0, 1]; ``y`` (N,) int64.
    """

    name: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.y.ndim != 1 or self.x.ndim < 2 or len(self.x) != len(self.y):
            raise ShapeMismatchError(
                "samples and classes do not fit each other",
                where=self.name,
                expected="x (N, *shape) and y (N,)",
                found=f"x {self.x.shape} and y {self.y.shape}",
            )
        if not len(self.y):
            raise UsageError("the data set is empty", where=self.name)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.x.shape[1:]

    def first(self, samples: int | None) -> LabelledData:
        """The first ``samples`` samples, or all of them."""
        if samples is not None and samples < 1:
            raise UsageError(
                "the number of samples must be positive", expected="≥ 1", found=str(samples)
            )
        return LabelledData(self.name, self.x[:samples], self.y[:samples])
