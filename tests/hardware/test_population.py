"""Ranges of the neuron parameters: Lava does not enforce them, so this does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.errors import NeurokdError
from neurokd.hardware.population import InputPopulation, LIFPopulation

GOOD: dict[str, Any] = {
    "name": "a",
    "shape": (2,),
    "du": 4095,
    "dv": 0,
    "vth": 1,
    "bias_mant": np.array([-4096, 4095]),
    "bias_exp": 7,
}


def test_the_limits_themselves_are_allowed() -> None:
    population = LIFPopulation(**GOOD)
    assert population.bias.tolist() == [-4096 * 128, 4095 * 128]
    assert population.bias_mant.dtype == np.int32


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("du", 4096),
        ("du", -2),
        ("dv", -1),
        ("dv", 4097),
        ("vth", 2**17),
        ("bias_mant", np.array([0, 4096])),
        ("bias_mant", np.array([-4097, 0])),
        ("bias_mant", np.zeros(3, dtype=int)),
        ("bias_mant", np.zeros(2)),
        ("bias_exp", 8),
        ("start_step", 0),
        ("shape", ()),
        ("shape", (0,)),
    ],
)
def test_refused(field: str, value: Any) -> None:
    with pytest.raises(NeurokdError, match="population 'a'"):
        LIFPopulation(**GOOD | {field: value})


def test_input_messages() -> None:
    assert InputPopulation("x", (3, 4)).max_message == 1
    graded = InputPopulation("x", (3, 4), "graded", 8)
    assert (graded.max_message, graded.size) == (255, 12)
    for options in ({"bits": 2}, {"encoding": "rate"}, {"scale": 0.0}, {"scale": float("nan")}):
        with pytest.raises(NeurokdError, match="population 'x'"):
            InputPopulation("x", (3,), **options)  # type: ignore[arg-type]
