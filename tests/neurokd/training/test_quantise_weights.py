"""Weights on the chip's grid: rounded as lowering does, learnt straight through, ties kept."""

from __future__ import annotations

import numpy as np
import torch

from neurokd.export.float_network import ConvGeometry, FloatProjection
from neurokd.export.weight_grid import WeightGrid, round_matrix
from neurokd.training.quantise_weights import QuantisedWeights


def quantised(
    weight: np.ndarray, factor: float = 100.0, bits: int = 8, exponent: int = 0
) -> QuantisedWeights:
    geometry = ConvGeometry() if weight.ndim == 4 else None
    projection = FloatProjection("p", "s", "t", weight, geometry)
    return QuantisedWeights(projection, factor, exponent, WeightGrid(bits))


def test_by_hand() -> None:
    weights = quantised(np.array([[0.26, -0.24], [5.0, -5.0]]))
    # A w / 2 = 13, −12, 250 → 127, −250 → −128; times 2
    out = weights()
    assert out.tolist() == [[26.0, -24.0], [254.0, -256.0]]
    out.sum().backward()
    assert weights.theta.grad is not None
    assert weights.theta.grad.tolist() == [[100.0, 100.0], [100.0, 100.0]]


def test_the_exponent_shifts_what_is_stored() -> None:
    stored = quantised(np.array([[0.3, -1.0]]), bits=4)
    assert stored.integers().tolist() == [[32, -96]]
    assert quantised(np.array([[0.3, -1.0]]), bits=4, exponent=-2)().tolist() == [[8.0, -24.0]]
    assert quantised(np.array([[0.3, -1.0]]), bits=4, exponent=1)().tolist() == [[64.0, -192.0]]


def test_copies_behind_a_pool_share_what_is_learnt_and_are_rounded_as_lowering_does() -> None:
    values = np.random.default_rng(1).uniform(-0.2, 0.2, size=(6, 5))
    matrix = np.repeat(values, 49, axis=1)
    weights = quantised(matrix)
    assert weights.theta.shape == (6, 5)
    np.testing.assert_allclose(weights.theta.detach().numpy(), 49 * values, rtol=1e-6)
    stored = np.float32(49 * values).astype(np.float64) / 49
    expected = round_matrix(np.repeat(stored, 49, axis=1) * 100, WeightGrid(8))
    np.testing.assert_array_equal(weights.integers(), expected)
    # what the student gets back is the sum of the integers, whose rounding is that of one weight
    assert np.abs(weights.snapped.numpy() - 49 * values).max() <= 1 / 100 + 1e-6
    weights().sum().backward()
    assert weights.theta.grad is not None
    torch.testing.assert_close(weights.theta.grad, torch.full((6, 5), 100.0))


def test_a_kernel_behind_a_pool_keeps_its_windows_equal() -> None:
    kernel = np.random.default_rng(2).normal(size=(4, 3, 1, 1))
    weights = quantised(np.broadcast_to(kernel / 4, (4, 3, 2, 2)).copy())
    assert weights.theta.shape == (12, 1)
    with torch.no_grad():
        weights.theta += 0.1
    integers = weights.integers()
    assert integers.shape == (4, 3, 2, 2) and not np.ptp(integers, axis=(2, 3)).any()
    np.testing.assert_allclose(weights.snapped.numpy().ravel(), kernel.ravel() + 0.1, atol=0.041)


def test_an_identity_is_not_learnt_and_zero_columns_stay_zero() -> None:
    assert not quantised(np.ones((4, 1, 1, 1))).learnt
    matrix = np.random.default_rng(3).normal(size=(3, 4))
    matrix[:, 2] = 0.0
    weights = quantised(matrix)
    weights().sum().backward()
    assert weights.theta.grad is not None and not weights.theta.grad[:, 2].any()
    assert weights.learnt and weights.theta.grad[:, 1].all()
