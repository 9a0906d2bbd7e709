"""Arithmetic of bands."""

from __future__ import annotations

import pytest

from neurokd.errors import CapacityError
from neurokd.hardware.band import Band


def test_arithmetic_by_hand() -> None:
    a, b = Band(1, 2, 3), Band(10, 20, 40)
    assert a + b == Band(11, 22, 43)
    assert a * b == Band(10, 40, 120)
    assert b * 0.5 == Band(5, 10, 20)
    assert Band.total([a, b, a]) == Band(12, 24, 46)
    assert Band.total([]) == Band(0, 0, 0)
    assert a.to_dict() == {"low": 1, "nominal": 2, "high": 3}


@pytest.mark.parametrize("numbers", [(2, 1, 3), (1, 3, 2), (-1, 0, 1), (0, 1, float("nan"))])
def test_disorder_is_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(CapacityError, match="not ordered"):
        Band(*numbers)
