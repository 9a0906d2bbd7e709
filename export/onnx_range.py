"""What values can stand on an edge of the network: a range and, for spikes, an exact grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.export.nir_structure import pair
from neurokd.export.onnx_plan import POOLING, SPIKING, Plan, Stage

UINT8_LEVELS = 255


@dataclass(frozen=True)
class Range:
    """Values in [low, high]; with a ``grid``, only whole multiples of it occur.

    Spikes are 0 or 1: grid 1. A sum of them over a window of n has grid 1 and high n; their mean
    has grid 1/n and high 1. Analog values have no grid.
    """

    low: float
    high: float
    grid: float | None = None

    @property
    def exact(self) -> bool:
        """Whether uint8 holds every value, and zero, without rounding."""
        width = max(self.high, 0.0) - min(self.low, 0.0)
        return self.grid is not None and round(width / self.grid) <= UINT8_LEVELS

    @property
    def levels(self) -> int:
        """The largest uint8 that stands for a value of this range."""
        scale, zero = self.uint8()
        return round(max(self.high, 0.0) / scale) + zero

    def uint8(self) -> tuple[float, int]:
        """Scale and zero point of uint8; zero is always exact (padding adds zeros).

        Equation: value = scale · (q − zero_point), 0 ≤ q ≤ 255.
        """
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if self.grid is not None and self.exact:
            return self.grid, round(-low / self.grid)
        if high == low:
            return 1.0, 0
        scale = (high - low) / UINT8_LEVELS
        return scale, round(-low / scale)


ASSUMED_INPUT = Range(0.0, 1.0)
"""Of an input that no data tells the range of; uint8 holds 8-bit pixels over 255 exactly."""


def observed_range(values: NDArray[Any]) -> Range:
    """The range of data, on a grid where all of it is integers or 8-bit pixels in [0, 1]."""
    low, high = float(values.min()), float(values.max())
    if high - low <= UINT8_LEVELS and np.array_equal(values, np.rint(values)):
        return Range(low, high, 1.0)
    levels = values * UINT8_LEVELS
    if low >= 0.0 and high <= 1.0 and np.abs(levels - np.rint(levels)).max() < 1e-3:
        return Range(0.0, 1.0, 1.0 / UINT8_LEVELS)
    return Range(low, high)


def add(ranges: list[Range]) -> Range:
    """The range of a sum; the grid survives where all terms share it."""
    grids = {each.grid for each in ranges}
    grid = grids.pop() if len(grids) == 1 else None
    return Range(sum(each.low for each in ranges), sum(each.high for each in ranges), grid)


def known_ranges(plan: Plan, input_range: Range) -> dict[str, Range]:
    """The ranges that follow from the input's and from spikes being 0 or 1, by stage.

    Stages behind a linear layer or a membrane without spikes in between are absent: nothing but
    data tells their range.
    """
    known: dict[str, Range] = {}
    for stage in plan.stages:
        found = _range(stage, known, input_range)
        if found is not None:
            known[stage.name] = found
    return known


def source_range(stage: Stage, known: dict[str, Range]) -> Range | None:
    """The range of the sum that feeds a stage, where it is known."""
    if any(source not in known for source in stage.sources):
        return None
    return add([known[source] for source in stage.sources])


def _range(stage: Stage, known: dict[str, Range], input_range: Range) -> Range | None:
    if stage.op == "Input":
        return input_range
    if stage.op in SPIKING:
        return Range(0.0, 1.0, 1.0)
    source = source_range(stage, known)
    if source is None:
        return None
    if stage.op in POOLING:
        return _pooled(stage, source)
    if stage.op == "Scale":
        return _scaled(np.asarray(stage.node.scale, dtype=np.float64), source)
    return source if stage.op in ("Flatten", "Output") else None


def _pooled(stage: Stage, source: Range) -> Range:
    height, width = pair(stage.node.kernel_size)
    low, high = source.low, source.high
    if any(pair(stage.node.padding)):
        low, high = min(low, 0.0), max(high, 0.0)
    count = height * width
    if stage.op == "SumPool2d":
        return Range(count * low, count * high, source.grid)
    return Range(low, high, None if source.grid is None else source.grid / count)


def _scaled(scale: Any, source: Range) -> Range:
    corners = [source.low * scale.min(), source.low * scale.max()]
    corners += [source.high * scale.min(), source.high * scale.max()]
    uniform = source.grid is not None and scale.min() == scale.max() and scale.min() != 0
    grid = abs(float(scale.min())) * source.grid if uniform and source.grid is not None else None
    return Range(float(min(corners)), float(max(corners)), grid)
