"""Rounding to the chip's weights: nearest, clipped, and diffused over repeated columns."""

from __future__ import annotations

import numpy as np

from neurokd.export.weight_grid import WeightGrid, round_matrix, round_weights, shifted
from neurokd.hardware.projection import DenseProjection


def test_eight_bits_are_even_integers_and_the_chip_keeps_them() -> None:
    grid = WeightGrid(8)
    assert (grid.step, grid.top) == (2, 254)
    rounded = round_weights(np.array([[-999.0, -3.1, -0.9, 0.0, 1.1, 7.0, 255.0, 999.0]]), grid)
    assert rounded.tolist() == [[-256, -4, 0, 0, 2, 8, 254, 254]]
    projection = DenseProjection("p", "a", "b", rounded)
    np.testing.assert_array_equal(projection.effective_weight, rounded)


def test_every_width_survives_the_chip_s_truncation() -> None:
    scaled = np.random.default_rng(0).uniform(-300, 300, size=(20, 30))
    for bits in range(1, 9):
        rounded = round_matrix(scaled, WeightGrid(bits))
        projection = DenseProjection("p", "a", "b", rounded, num_weight_bits=bits)
        np.testing.assert_array_equal(projection.effective_weight, rounded)


def test_repeated_columns_have_the_right_sum() -> None:
    values = np.random.default_rng(1).uniform(-20, 20, size=(6, 5))
    scaled = np.repeat(values, 49, axis=1)
    rounded = round_matrix(scaled, WeightGrid(8)).reshape(6, 5, 49)
    # the sum of 49 even numbers is within 1 of 49 w; rounding each would be off by up to 49
    assert np.abs(rounded.sum(axis=2) - 49 * values).max() <= 1 + 1e-9
    assert (np.ptp(rounded, axis=2) <= 2).all()
    plain = round_weights(scaled, WeightGrid(8)).reshape(6, 5, 49)
    assert np.abs(plain.sum(axis=2) - 49 * values).max() > 20


def test_columns_on_their_own_are_rounded_as_usual() -> None:
    scaled = np.random.default_rng(2).uniform(-300, 300, size=(6, 40))
    np.testing.assert_array_equal(
        round_matrix(scaled, WeightGrid(8)), round_weights(scaled, WeightGrid(8))
    )


def test_a_shift_down_to_the_lowest_exponent_rounds_nothing() -> None:
    scaled = np.random.default_rng(4).uniform(-300, 300, size=(9, 9))
    for bits in range(1, 9):
        grid = WeightGrid(bits)
        rounded = round_weights(scaled, grid)
        for exponent in range(grid.lowest_exponent, 8):
            np.testing.assert_array_equal(shifted(rounded, exponent), rounded * 2.0**exponent)
    assert WeightGrid(8).lowest_exponent == -1  # even integers can be halved once
    assert WeightGrid(2).lowest_exponent == -7


def test_one_bit_is_nothing_or_the_lowest_weight() -> None:
    grid = WeightGrid(1)
    assert (grid.step, grid.top, grid.span) == (256, 0, 256)
    assert round_weights(np.array([[-300.0, -129.0, -127.0, 90.0]]), grid).tolist() == [
        [-256, -256, 0, 0]
    ]
