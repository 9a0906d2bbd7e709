"""Scale error: what rounded weights do to the currents of the neurons behind them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurokd.export.float_network import FloatProjection
from neurokd.export.linear_maps import Floats
from neurokd.export.weight_grid import (
    Columns,
    WeightGrid,
    diffused,
    nearest_matrix,
    repeated_columns,
    round_matrix,
)

_SAMPLED = 1 << 15
_FLOAT32_NOISE = 1e-13
"""Share of the power that weights stored in float32 differ from the grid they were trained on."""
_SILENT = 1e-3
"""Variance of a source that calibration never excites: its weights still count a little."""


class Moments(NamedTuple):
    """Mean and variance, over samples and steps, of what each source (channel) sends."""

    mean: Floats
    variance: Floats


def message_moments(messages: Floats, projection: FloatProjection) -> Moments:
    """Moments by channel for a convolution, else by neuron.

    Shapes: messages (T, B, *source shape).
    """
    if messages.strides[0] == 0:
        messages = messages[:1]
    merged = messages.reshape(-1, *messages.shape[2:])
    if projection.geometry is None:
        merged, axes = merged.reshape(len(merged), -1), (0,)
    else:
        axes = (0, *range(2, merged.ndim))
    return Moments(merged.mean(axis=axes), merged.var(axis=axes) + _SILENT)


class ScaledProjection:
    """A projection whose weights are tried at many scales, on a sample of its rows.

    ``message_scale``: integers m that a message carries for a float of 1.
    """

    def __init__(
        self,
        projection: FloatProjection,
        message_scale: float,
        grid: WeightGrid,
        moments: Moments | None,
    ) -> None:
        self.projection = projection
        self.message_scale = message_scale
        self.grid = grid
        weight, ends = projection.weight, projection.ends
        every = max(1, weight.size // _SAMPLED)
        # rows of a matrix, output channels of a kernel, synapses of a list
        self._kept = np.arange(0, len(weight), every)
        if ends is not None:
            self._kept = np.flatnonzero(ends.rows % every == 0)
        self._sample = weight[self._kept]
        self._rows: NDArray[np.intp] | None = None
        self._targets = len(self._sample)
        if ends is not None:
            rows, self._rows = np.unique(ends.rows[self._kept], return_inverse=True)
            self._targets = len(rows)
        dense = projection.geometry is None and projection.ends is None
        self._repeated: Columns = repeated_columns(weight) if dense else ()
        self._moments = None if moments is None else Moments(*map(self._laid_out, moments))
        self._errors: dict[float, float] = {}

    @cached_property
    def largest(self) -> float:
        """Largest magnitude in units of an integer message."""
        return float(np.abs(self.projection.weight).max(initial=0.0)) / self.message_scale

    @cached_property
    def magnitudes(self) -> Floats:
        """Magnitudes of the weights that are not 0, in units of an integer message."""
        found = np.abs(self.projection.weight).ravel() / self.message_scale
        return found[found > 0]

    def rounded(self, scale: float) -> NDArray[np.int32]:
        """The integers of all weights, for ``scale`` integers to a float of 1."""
        return round_matrix(
            self.projection.weight * (scale / self.message_scale), self.grid, self._repeated
        )

    def error(self, scale: float) -> float:
        """Mean squared error of a target's current in a step, in floats.

        Equation: E (Σ_j e_j s_j)² = Σ_j e_j² var s_j + (Σ_j e_j mean s_j)² for independent sources
        s. Without calibration: Σ_j e_j², the error of repeated columns spread over them.
        """
        if scale not in self._errors:
            self._errors[scale] = self._error(scale / self.message_scale)
        return self._errors[scale]

    def _error(self, factor: float) -> float:
        error = nearest_matrix(self._sample * factor, self.grid, self._repeated)
        error /= factor
        error -= self._sample
        if self._moments is None:
            error = diffused(error, self._sample, self._repeated)
            return _beyond_noise(error, np.ones(1), self._power) / max(1, self._targets)
        mean, variance = self._moments
        spread = _beyond_noise(error, variance, self._power)
        if self._rows is not None:
            shift = np.bincount(self._rows, error * mean)
        else:
            shift = (error * mean).reshape(len(error), -1).sum(axis=1)
        return (spread + float(np.square(shift).sum()) * (spread > 0)) / max(1, self._targets)

    def weight_error(self, scale: float, integers: NDArray[np.int32]) -> float:
        """Root mean square of what the integers differ from the weights, in floats; 0 on the grid.

        The error of repeated columns is spread over them.
        """
        weight = self.projection.weight
        error = diffused(integers * (self.message_scale / scale) - weight, weight, self._repeated)
        squared = _beyond_noise(error, np.ones(1), float(np.square(weight).sum()))
        return float(np.sqrt(squared / max(1, weight.size)))

    def clipped(self, scale: float) -> float:
        """Fraction of the weights that lie outside the grid."""
        scaled = self.projection.weight * (scale / self.message_scale)
        half = self.grid.step / 2
        outside = (scaled > self.grid.top + half) | (scaled < -256 - half)
        return float(outside.mean()) if scaled.size else 0.0

    @cached_property
    def _power(self) -> float:
        """Σ w² var of the sample."""
        variance = np.ones(1) if self._moments is None else self._moments.variance
        return float((np.square(self._sample) * variance).sum())

    def _laid_out(self, values: Floats) -> Floats:
        """A value of each source (channel), laid out as the sampled weights."""
        geometry, ends = self.projection.geometry, self.projection.ends
        if ends is not None:
            return values[ends.columns[self._kept]]
        if geometry is None:
            return values[None, :]
        weight = self.projection.weight
        group = self._kept // (len(weight) // geometry.groups)
        by_group = values.reshape(geometry.groups, weight.shape[1])[group]
        return by_group.reshape(*by_group.shape, *(1,) * (weight.ndim - 2))


def _beyond_noise(error: Floats, variance: Floats, power: float) -> float:
    """Σ e² var; 0 where that is within the rounding of float32, a share of the weights' power."""
    squared = float((np.square(error) * variance).sum())
    return squared if squared > _FLOAT32_NOISE * power else 0.0


def total_error(
    projections: Mapping[str, ScaledProjection], scale: float, exponents: Mapping[str, int]
) -> float:
    """Mean squared current error of a population: its projections' errors are independent."""
    return sum(p.error(scale / 2.0 ** exponents[name]) for name, p in projections.items())
