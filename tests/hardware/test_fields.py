"""What every population and projection asks of its fields, with the words it refuses them in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.errors import CapacityError, NeurokdError, ShapeMismatchError, UsageError
from neurokd.hardware.fields import is_integer, numbers, require_range, require_scale
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection


def lif(**fields: Any) -> LIFPopulation:
    return LIFPopulation(
        **{"name": "a", "shape": (2,), "du": 0, "dv": 0, "vth": 1, "bias_mant": [0, 0]} | fields
    )


def conv(**fields: Any) -> ConvProjection:
    weight = np.ones((2, 1, 2, 2), dtype=np.int32)
    return ConvProjection(**{"name": "c", "source": "i", "target": "a", "weight": weight} | fields)


def test_integers_are_those_of_python_and_numpy() -> None:
    assert all(is_integer(value) for value in (3, np.int8(3), np.uint64(3)))
    assert not any(
        is_integer(value) for value in (3.0, True, np.bool_(1), "3", None, np.float32(3))
    )


@pytest.mark.parametrize("value", [1.0, True, "1", None, np.float32(1), np.array(1)])
def test_what_is_no_integer_is_refused(value: Any) -> None:
    with pytest.raises(CapacityError, match="population 'a': vth is no integer"):
        lif(vth=value)
    with pytest.raises(CapacityError, match="no integer"):
        require_range("here", "field", value, 0, 5)


@pytest.mark.parametrize("shape", [(), (0,), (-2,), (2.0,), [2], 2, (True, 2)])
def test_shapes_are_tuples_of_integers(shape: Any) -> None:
    with pytest.raises(ShapeMismatchError, match="tuple of integers ≥ 1"):
        InputPopulation("in", shape)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), "a", None, True])
def test_scales_are_positive_numbers(scale: Any) -> None:
    with pytest.raises(CapacityError, match="scale"):
        require_scale("here", scale)
    if scale not in (0, -1.0):
        with pytest.raises(CapacityError, match="offset"):
            require_scale("here", 1.0, scale)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stride": 2}, "stride is not a pair"),
        ({"stride": [1, 1]}, "stride is not a pair"),
        ({"dilation": (1, 0)}, "dilation is not a pair of integers ≥ 1"),
        ({"padding": (0.5, 0)}, "padding is not a pair"),
        ({"groups": 1.0}, "groups is no integer"),
        ({"groups": 0}, "groups is out of range"),
        ({"weight": np.ones((2, 1, 0, 2), dtype=np.int32)}, ".* four axes .*all ≥ 1"),
    ],
)
def test_a_convolution_that_makes_no_sense(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(NeurokdError, match=f"projection 'c': {words}"):
        conv(**fields)


def test_numbers_of_numpy_become_those_of_python() -> None:
    # as uint8, 200 << 6 would be 0
    population = lif(shape=(np.int64(2),), vth=np.uint8(200))
    assert [type(n) for n in (population.vth, *population.shape)] == [int, int]
    assert type(InputPopulation("in", (2,), "graded", 8, np.float32(0.5)).scale) is float
    dense = DenseProjection("d", "in", "a", np.ones((2, 2), dtype=np.int64), np.int8(3))
    assert type(dense.weight_exp) is int


@pytest.mark.parametrize("values", ["abc", [[1], [1, 2]], np.zeros(2, dtype=complex), None, {}])
def test_data_are_arrays_of_numbers(values: Any) -> None:
    with pytest.raises(UsageError, match="no array") as raised:
        numbers("input 'in'", values)
    assert "\n" not in str(raised.value)
    assert numbers("input 'in'", [[1, 2], [3, 4]]).shape == (2, 2)
