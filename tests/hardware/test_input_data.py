"""What a run takes as input data, and what it says of anything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.errors import NeurokdError
from neurokd.hardware.input_data import checked_input
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
)
from neurokd.hardware.projection import DenseProjection

INPUTS: list[Population] = [
    InputPopulation("in", (3,)),
    InputPopulation("in", (3,), "graded", 4, signed=True),
    CurrentInputPopulation("in", (3,), 0, 10),
    DeltaInputPopulation("in", (3,), 1, bits=4),
]


def network(entrance: Population) -> DeployedNetwork:
    return DeployedNetwork(
        (entrance, LIFPopulation("out", (2,), 0, 0, 1, np.zeros(2, dtype=np.int32))),
        (DenseProjection("d", "in", "out", np.ones((2, 3), dtype=np.int32)),),
        "out",
        "loihi2",
        steps=4,
    )


@pytest.mark.parametrize("entrance", INPUTS, ids=lambda p: type(p).__name__)
def test_what_is_taken(entrance: Population) -> None:
    constant = isinstance(entrance, CurrentInputPopulation)
    leading = (2,) if constant else (4, 2)
    for values in (np.ones((*leading, 3), dtype=bool), np.ones((*leading, 3), dtype=int).tolist()):
        data, steps = checked_input(network(entrance), values, 4)
        assert (data.shape, steps) == ((*leading, 3), 4)


REFUSED: list[tuple[Any, Any, str]] = [
    ("abc", 4, "no array of numbers"),
    ([[1], [1, 2]], 4, "no array"),
    (np.ones((4, 2, 3)), 4, "integers .* encode"),
    (np.ones((4, 2, 5), dtype=int), 4, "does not fit"),
    (np.ones((4, 0, 3), dtype=int), 4, "nothing to run"),
    (np.full((4, 2, 3), 1 << 20), 4, "out of range"),
]


@pytest.mark.parametrize("entrance", INPUTS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(("x", "steps", "words"), REFUSED)
def test_what_is_refused(entrance: Population, x: Any, steps: Any, words: str) -> None:
    if isinstance(entrance, CurrentInputPopulation) and isinstance(x, np.ndarray):
        x = x[0]
    with pytest.raises(NeurokdError, match=words) as raised:
        checked_input(network(entrance), x, steps)
    assert str(raised.value).startswith("input 'in': ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("steps", [None, 0, -1, 2.5, 4.0, True, "4"])
def test_a_current_needs_a_number_of_steps(steps: Any) -> None:
    with pytest.raises(NeurokdError, match="steps ≥ 1"):
        checked_input(network(INPUTS[2]), np.ones((2, 3), dtype=int), steps)


@pytest.mark.parametrize("steps", [0, 3, 2.5, "4"])
def test_steps_that_are_not_those_of_the_data(steps: Any) -> None:
    with pytest.raises(NeurokdError, match="disagrees with the data"):
        checked_input(network(INPUTS[0]), np.ones((4, 2, 3), dtype=int), steps)
