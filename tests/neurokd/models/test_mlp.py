"""Perceptrons: parameters, geometry, training, and the way to a chip."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_checks import (
    check_exact_trace,
    check_lowering,
    check_one_geometry,
    check_training_step,
)

from neurokd.errors import UsageError
from neurokd.models import MLP

TINY: dict[str, Any] = {"inputs": 12, "sizes": (9, 7)}


def test_every_layer_has_a_bias() -> None:
    expected = 784 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10
    for spiking in (False, True):
        assert sum(p.numel() for p in MLP(spiking=spiking).parameters()) == expected == 269_322


def test_teacher_and_student_have_the_same_geometry() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 1, 3, 4)
    assert check_one_geometry(MLP(**TINY), MLP(**TINY, spiking=True), x) == [(9,), (7,)]


@pytest.mark.parametrize("spiking", [False, True])
def test_it_learns(spiking: bool) -> None:
    torch.manual_seed(0)
    check_training_step(MLP(inputs=12, sizes=(30,), spiking=spiking), 3 * torch.rand(10, 1, 3, 4))


def test_it_is_traced_spike_for_spike() -> None:
    torch.manual_seed(1)
    check_exact_trace(MLP(**TINY, spiking=True, threshold=0.25), 2 * torch.rand(8, 1, 3, 4))


def test_it_is_lowered() -> None:
    torch.manual_seed(1)
    check_lowering(MLP(**TINY, spiking=True, threshold=0.25), torch.rand(8, 1, 3, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": 0}, "inputs 0"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": (4, 0)}, "sizes"),
        ({"classes": True}, "classes True"),
    ],
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MLP(**{**TINY, **settings})


def test_dropout_stands_behind_every_hidden_layer_of_the_dense_form() -> None:
    def dropouts(network: MLP) -> list[float]:
        return [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)]

    dropped = MLP(**TINY, dropout=0.25)
    assert dropouts(dropped) == [0.25, 0.25]
    assert dropped.state_dict().keys() == MLP(**TINY).state_dict().keys()
    assert dropouts(MLP(**TINY)) == []
    for settings in ({"dropout": 1.0}, {"dropout": 0.1, "spiking": True}):
        with pytest.raises(UsageError, match="dropout"):
            MLP(**{**TINY, **settings})
