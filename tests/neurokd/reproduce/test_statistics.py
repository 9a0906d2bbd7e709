"""Expected values are worked out by hand; the p-values are also scipy's paired t test."""

import math

import pytest
from scipy.stats import ttest_rel

from neurokd.reproduce.statistics import Mean, mean_of, paired


def test_mean_and_standard_error() -> None:
    # Deviations −2, 0, 2: s² = 8 / 2 = 4, s / √3 = 2 / √3.
    assert mean_of([96.0, 98.0, 100.0]) == Mean(98.0, pytest.approx(2 / math.sqrt(3)), 3)


def test_one_value_has_no_error() -> None:
    assert mean_of([97.5]) == Mean(97.5, None, 1)


def test_differences_are_paired_by_seed() -> None:
    # Both arms vary by points from seed to seed, their differences 1, 2, 3 by much less.
    better = {0: 91.0, 1: 82.0, 2: 73.0}
    worse = {2: 70.0, 0: 90.0, 1: 80.0, 7: 0.0}
    difference = paired(better, worse)
    assert difference is not None
    assert (difference.mean, difference.n) == (2.0, 3)
    assert difference.standard_error == pytest.approx(1 / math.sqrt(3))
    oracle = ttest_rel([91.0, 82.0, 73.0], [90.0, 80.0, 70.0]).pvalue
    assert difference.p_value == pytest.approx(oracle)
    assert difference.beyond_error is True


@pytest.mark.parametrize(
    ("better", "answer"),
    [
        ({0: 1.0, 1: -0.5}, False),  # mean 0.25, standard error 0.75
        ({0: -1.0, 1: -1.0}, False),  # worse, without any spread
        ({0: 1.0, 1: 1.0}, True),
        ({0: 1.0}, None),  # one pair has no error bar
    ],
)
def test_beyond_the_error_bar(better: dict[int, float], answer: bool | None) -> None:
    difference = paired(better, {0: 0.0, 1: 0.0})
    assert difference is not None and difference.beyond_error is answer


def test_equal_differences_have_no_p_value() -> None:
    # 97.8 − 97.7 and 98.1 − 98.0 differ in the fifteenth digit.
    difference = paired({0: 97.8, 1: 98.1}, {0: 97.7, 1: 98.0})
    assert difference is not None
    assert (difference.mean, difference.standard_error, difference.p_value) == (0.1, 0.0, None)


def test_no_common_seed() -> None:
    assert paired({0: 1.0}, {1: 1.0}) is None
