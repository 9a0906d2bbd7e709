"""Sparse projections: order, what is stored, and which lists are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.errors import NeurokdError
from neurokd.hardware.projection import SparseProjection, check_projection

GOOD: dict[str, Any] = {
    "rows": np.array([1, 0, 1]),
    "columns": np.array([2, 0, 0]),
    "weight": np.array([5, -300, 301]),
}


def build(**options: Any) -> SparseProjection:
    return SparseProjection("s", "a", "b", **GOOD | options)


def test_synapses_are_sorted_with_all_that_is_theirs() -> None:
    projection = build(delays=np.array([7, 8, 9]))
    assert projection.rows.tolist() == [0, 1, 1]
    assert projection.columns.tolist() == [0, 0, 2]
    assert projection.weight.tolist() == [-300, 301, 5]
    assert projection.delays is not None and projection.delays.tolist() == [8, 9, 7]
    assert projection.effective_weight.tolist() == [-256, 254, 4]
    assert projection.synapses == 3


def test_delays_of_zero_are_none() -> None:
    assert build(delays=np.zeros(3, dtype=int)).delays is None


def test_ends_lie_in_their_populations() -> None:
    check_projection(build(), (3,), (2, 1))
    for source, target in [((2,), (2,)), ((3,), (1,))]:
        with pytest.raises(NeurokdError, match="does not have"):
            check_projection(build(), source, target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": np.array([0, 1])}, "one length"),
        ({"weight": np.ones((3, 1), dtype=int)}, "one length"),
        ({"columns": np.array([0, 0, 0]), "rows": np.array([1, 0, 1])}, "two synapses"),
        ({"weight": np.ones(3)}, "integers"),
        ({"rows": np.array([0, 0, 2**31])}, "32 bits"),
        ({"delays": np.array([0, 1])}, "delays"),
        ({"delays": np.array([0, 1, 63])}, "delays"),
        ({"delays": np.array([0, 1, -1])}, "delays"),
        ({"weight_exp": 8}, "weight_exp"),
        ({"num_weight_bits": 0}, "num_weight_bits"),
        ({"sign_mode": "both"}, "sign mode"),
    ],
)
def test_refused(options: Any, message: str) -> None:
    with pytest.raises(NeurokdError, match=message):
        build(**options)
