"""Numbers and units in words."""

from __future__ import annotations

import pytest

from neurokd.report.profiled import Range
from neurokd.report.wording import (
    NO_BREAK,
    duration,
    energy,
    grade,
    memory,
    number,
    percent,
    points,
    signed_points,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.012345, "0.0123"), (1.2345, "1.23"), (90.0, "90"), (1234567.8, "1,234,568")],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("nominal_pj", "text"),
    [(0.5, "0.500 pJ"), (1000.0, "1 nJ"), (2.715e8, "272 µJ"), (6.6e8, "660 µJ"), (1e12, "1 J")],
)
def test_energy_in_the_unit_of_its_nominal_value(nominal_pj: float, text: str) -> None:
    one = Range(low=nominal_pj, nominal=nominal_pj, high=nominal_pj)
    assert energy(one).replace(NO_BREAK, " ") == text


def test_bands_share_the_unit_of_the_nominal_value() -> None:
    band = Range(low=200.0, nominal=3370.0, high=1.2e6)
    assert duration(band).replace(NO_BREAK, " ") == "3.37 ms (0.200 – 1,200)"
    assert energy(band).replace(NO_BREAK, " ") == "3.37 nJ (0.200 – 1,200)"


def test_accuracies_and_their_differences() -> None:
    assert percent(0.974).replace(NO_BREAK, " ") == "97.40 %"
    assert points(-0.003) == "0.30 points lower"
    assert points(0.02) == "2.00 points higher"
    assert points(0.00001) == "equal"
    assert (signed_points(-0.003), signed_points(0.003)) == ("−0.30", "+0.30")
    assert signed_points(-0.00001) == "0.00"


def test_memory_and_grades() -> None:
    assert memory(100) == "100 bits"
    assert memory(12288) == "1.50 KiB"
    assert grade("measured") == "measured on silicon"
    assert grade("hearsay") == "hearsay"
