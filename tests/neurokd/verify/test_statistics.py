"""Wilson's interval and McNemar's test against formulas and published examples."""

from __future__ import annotations

from math import comb, sqrt

import numpy as np
import pytest

from neurokd.verify.statistics import mcnemar_p, wilson_interval


def test_wilson_interval_of_81_of_263_is_newcombes() -> None:
    # Newcombe 1998, Stat. Med. 17:857, table I, method 3 for r/n = 81/263: 0.2553 … 0.3662.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilson_interval_of_none_of_twenty_is_newcombes() -> None:
    # Ibid., 0/20: 0 … 0.1611.
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(("correct", "samples"), [(974, 1000), (50, 50), (1, 3)])
def test_wilson_interval_is_its_formula(correct: int, samples: int) -> None:
    z, p = 1.959963984540054, correct / samples
    centre = p + z * z / (2 * samples)
    half = z * sqrt(p * (1 - p) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    assert wilson_interval(correct, samples) == pytest.approx(
        ((centre - half) / scale, (centre + half) / scale), abs=1e-12
    )


def test_mcnemar_is_the_binomial_tail() -> None:
    # b = 2 only the reference right, c = 8 only the other: 2·(C(10,0)+C(10,1)+C(10,2))/2^10.
    reference = np.array([True] * 2 + [False] * 8 + [True] * 30 + [False] * 5)
    other = np.array([False] * 2 + [True] * 8 + [True] * 30 + [False] * 5)
    expected = 2 * sum(comb(10, k) for k in range(3)) / 2**10
    assert expected == 0.109375
    assert mcnemar_p(reference, other) == pytest.approx(expected, abs=1e-12)
    assert mcnemar_p(other, reference) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_without_disagreement_is_one() -> None:
    right = np.array([True, False, True])
    assert mcnemar_p(right, right) == 1.0


def test_mcnemar_of_balanced_disagreement_is_one() -> None:
    assert mcnemar_p(np.array([True, False]), np.array([False, True])) == 1.0
