"""The predicted error of currents is that of independent sources, measured by sampling them."""

from __future__ import annotations

import numpy as np
import pytest

from neurokd.export.float_network import ConvGeometry, Ends, FloatProjection
from neurokd.export.scale_error import ScaledProjection, message_moments
from neurokd.export.weight_grid import WeightGrid

RNG = np.random.default_rng(11)
GRID = WeightGrid(4)


def sampled(projection: FloatProjection, rates: np.ndarray, scale: float, shape: tuple) -> float:
    """Mean squared difference of the currents of float and rounded weights."""
    spikes = (RNG.random((4000, *rates.shape)) < rates).astype(float)
    scaled = ScaledProjection(projection, 1.0, GRID, None)
    error = scaled.rounded(scale) / scale - projection.weight
    wrong = FloatProjection("p", "s", "t", error, projection.geometry, projection.ends)
    return float(np.square(wrong.currents(spikes, shape)).mean())


def test_dense_error_by_sampling() -> None:
    projection = FloatProjection("p", "s", "t", RNG.normal(size=(6, 40)))
    rates = RNG.uniform(0, 0.6, size=40)
    spikes = (RNG.random((1, 20000, 40)) < rates).astype(float)
    moments = message_moments(spikes, projection)
    np.testing.assert_allclose(moments.mean, rates, atol=0.02)
    predicted = ScaledProjection(projection, 1.0, GRID, moments).error(60.0)
    assert predicted == pytest.approx(sampled(projection, rates, 60.0, (6,)), rel=0.1)


def test_convolution_error_by_sampling() -> None:
    # no padding, and rates that belong to channels: what the prediction assumes
    projection = FloatProjection(
        "p", "s", "t", RNG.normal(size=(6, 2, 3, 3)), ConvGeometry(groups=2)
    )
    rates = np.broadcast_to(np.array([0.05, 0.2, 0.4, 0.6])[:, None, None], (4, 6, 6))
    spikes = (RNG.random((1, 500, 4, 6, 6)) < rates).astype(float)
    moments = message_moments(spikes, projection)
    predicted = ScaledProjection(projection, 1.0, GRID, moments).error(60.0)
    assert predicted == pytest.approx(sampled(projection, rates, 60.0, (6, 4, 4)), rel=0.1)


def test_sparse_error_is_that_of_the_same_matrix() -> None:
    matrix = RNG.normal(size=(5, 8)) * (RNG.random((5, 8)) < 0.6)
    matrix[:, 0] = RNG.normal(size=5)  # every row has a synapse
    rows, columns = np.nonzero(matrix)
    dense = FloatProjection("p", "s", "t", matrix)
    sparse = FloatProjection("p", "s", "t", matrix[rows, columns], ends=Ends(rows, columns))
    spikes = (RNG.random((3, 50, 8)) < 0.3).astype(float)
    errors = [
        ScaledProjection(p, 1.0, GRID, message_moments(spikes, p)).error(50.0)
        for p in (dense, sparse)
    ]
    assert errors[0] == pytest.approx(errors[1])


def test_weights_stored_in_float32_on_their_grid_have_no_error() -> None:
    integers = RNG.integers(-8, 8, size=(4, 30)) * GRID.step
    weight = (integers / 77.7).astype(np.float32).astype(np.float64)
    projection = ScaledProjection(FloatProjection("p", "s", "t", weight), 1.0, GRID, None)
    assert projection.error(77.7) == 0.0
    assert projection.weight_error(77.7, projection.rounded(77.7)) == 0.0
    np.testing.assert_array_equal(projection.rounded(77.7), integers)
    assert projection.error(70.0) > 0.0


def test_a_large_projection_is_judged_by_a_sample_of_its_rows() -> None:
    matrix = RNG.normal(size=(600, 400))  # 240,000 weights
    rows, columns = np.nonzero(matrix)
    spikes = (RNG.random((1, 200, 400)) < 0.3).astype(float)
    dense = FloatProjection("p", "s", "t", matrix)
    moments = message_moments(spikes, dense)
    integers = ScaledProjection(dense, 1.0, GRID, moments).rounded(50.0)
    error = integers / 50.0 - matrix
    whole = (np.square(error) * moments.variance).sum(axis=1) + np.square(error @ moments.mean)
    sparse = FloatProjection("p", "s", "t", matrix[rows, columns], ends=Ends(rows, columns))
    for projection in (dense, sparse):
        found = ScaledProjection(projection, 1.0, GRID, moments).error(50.0)
        assert found == pytest.approx(float(whole.mean()), rel=0.1)
