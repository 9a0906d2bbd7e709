"""The (k+1)-th largest and the active neurons, beside a sort."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from neurokd.continual.sparse_select import active, largest, partitioned


def rank_of(values: NDArray[np.float32], rank: int) -> float:
    """`largest` of a row in the middle of others, which are larger."""
    size = len(values)
    flat = np.concatenate([np.full(7, 9, np.float32), values, np.full(70, 9, np.float32)])
    return float(largest(flat, 7, size, rank, np.full(size + 64, 9, np.float32)))


@pytest.mark.parametrize("size", [2, 63, 64, 65, 300, 1000, 4099])
@pytest.mark.parametrize("rank", [1, 2, 11, 200, 1500])
def test_the_rank_is_that_of_a_sort(size: int, rank: int) -> None:
    if rank > size:
        return
    rng = np.random.default_rng(size)
    for values in (
        rng.random(size) + 1,
        rng.standard_normal(size),
        rng.integers(-2, 3, size),  # many are equal
        np.full(size, 0.25),
        -rng.random(size),
        np.where(rng.random(size) < 0.01, rng.random(size), 0),
        10.0 ** rng.integers(-40, 38, size),  # denormals, and far apart
    ):
        row = values.astype(np.float32)
        expected = np.sort(np.maximum(row, 0))[::-1][rank - 1]
        assert rank_of(row, rank) == expected


def test_a_partition_ranks_many_values() -> None:
    values = np.random.default_rng(0).permutation(1000).astype(np.float32)
    assert [float(partitioned(values.copy(), 1000, rank)) for rank in (1, 500, 1000)] == [
        999,
        500,
        0,
    ]


def test_values_that_are_no_numbers_end_the_search() -> None:
    values = np.random.default_rng(0).random(500).astype(np.float32)
    values[::3] = np.nan
    assert np.isfinite(rank_of(values, 11))
    assert np.isfinite(rank_of(np.full(500, np.nan, np.float32), 11))
    partitioned(values, 500, 250)  # whatever it gives, it gives it


def listed(
    values: list[float], gains: list[float], inhibition: float, room: int
) -> tuple[int, list[int], list[float]]:
    which, heights = np.full(room + 2, -7, np.int32), np.full(room + 2, -7, np.float32)
    a, g = np.array([9, *values], np.float32), np.array([9, 9, *gains], np.float32)
    count = active(a, 1, len(values), g, 2, np.float32(inhibition), which, heights, 1, room)
    assert which[0] == which[-1] == -7  # nothing is written beside the room
    return count, which[1 : 1 + max(count, 0)].tolist(), heights[1 : 1 + max(count, 0)].tolist()


def test_excitation_plain_relu_and_inhibition_are_told_apart() -> None:
    count, which, heights = listed([0.5, -1.0, 0.25, 0.75], [-1.0, -0.5, 0.0, 1.0], 0.5, room=4)
    assert (count, which) == (4, [0, 1, 2, 3])
    assert heights == [1.0, 0.25, 0.25, 0.25]


def test_a_neuron_at_the_inhibition_is_silent_and_one_above_it_is_active() -> None:
    above = float(np.nextafter(np.float32(0.5), np.float32(1)))
    count, which, heights = listed([0.5, above, -0.5, 0.0], [1.0] * 4, 0.5, room=4)
    assert (count, which) == (1, [1])
    assert heights[0] == np.float32(above) - np.float32(0.5)


@pytest.mark.parametrize("size", [5, 64, 130])
def test_more_than_there_is_room_for_is_refused(size: int) -> None:
    assert listed([1.0] * size, [0.0] * size, 0.0, room=size)[0] == size
    assert listed([1.0] * size, [0.0] * size, 0.0, room=size - 1)[0] == -1
