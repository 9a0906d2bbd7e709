"""VGG-class networks: parameters, geometry, training, and the way to a chip."""

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
from torch import nn

from neurokd.errors import UnsupportedModuleError, UsageError
from neurokd.export import trace
from neurokd.models import VGG

TINY: dict[str, Any] = {"in_channels": 2, "channels": (4, 6), "depths": (1, 2)}


def test_the_parameters_are_those_of_vgg_11() -> None:
    # VGG-11 by hand: 3×3 convolutions without bias, two numbers a channel of normalisation
    pairs = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512)]
    pairs.append((512, 512))
    expected = sum(9 * a * b + 2 * b for a, b in pairs) + 512 * 10 + 10
    for spiking in (False, True):
        model = VGG(spiking=spiking)
        assert sum(p.numel() for p in model.parameters()) == expected == 9_228_362
        assert not any(isinstance(m, nn.MaxPool2d) for m in model.modules())


def test_teacher_and_student_have_the_same_geometry() -> None:
    torch.manual_seed(0)
    shapes = check_one_geometry(VGG(**TINY), VGG(**TINY, spiking=True), torch.rand(2, 2, 8, 8))
    assert shapes == [(4, 8, 8), (6, 4, 4)]  # averaged between the stages alone


@pytest.mark.parametrize("spiking", [False, True])
def test_it_learns(spiking: bool) -> None:
    torch.manual_seed(0)
    check_training_step(VGG(**TINY, spiking=spiking, threshold=0.5), torch.rand(10, 2, 8, 8))


def test_it_is_traced_spike_for_spike() -> None:
    torch.manual_seed(1)
    check_exact_trace(VGG(**TINY, spiking=True), torch.rand(2, 2, 8, 8))


def test_it_is_lowered() -> None:
    torch.manual_seed(1)
    check_lowering(VGG(**TINY, spiking=True), torch.rand(4, 2, 8, 8))


def test_a_last_activation_that_does_not_spike_is_refused_by_name() -> None:
    torch.manual_seed(0)
    model = VGG(**TINY, spiking=True, last_activation="relu")
    x = torch.rand(2, 2, 8, 8)
    with torch.no_grad():
        features = model.stages(x.expand(2, *x.shape))
        earlier = model.stages[0](x.expand(2, *x.shape))
    assert len(features.unique()) > 2 and features.min() >= 0
    assert set(earlier.unique().tolist()) == {0.0, 1.0}
    with pytest.raises(UnsupportedModuleError, match="ReLU") as caught:
        trace(model.eval(), x)
    assert "stages.1.4" in caught.value.where and caught.value.remedy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": (1,)}, "one entry per stage"),
        ({"depths": (0, 1)}, "depths is no count"),
        ({"channels": (4, -6)}, "channels is no count"),
        ({"last_activation": "tanh"}, "'lif' or 'relu'"),
        ({"classes": 0}, "classes 0"),
    ],
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VGG(**{**TINY, **settings})
