"""The small network: its geometry, its parameters, what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_checks import check_one_geometry

from neurokd.errors import UsageError
from neurokd.models import ConvNet


def test_teacher_and_student_have_the_same_geometry() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 1, 28, 28)
    dense, spiking = ConvNet(), ConvNet(spiking=True)
    shapes = check_one_geometry(dense, spiking, x)
    assert shapes == [(16, 14, 14), (32, 7, 7), (64, 7, 7), (64, 7, 7)]
    with torch.no_grad():
        spikes = spiking.stages(x.expand(3, *x.shape))
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    count = [sum(p.numel() for p in net.parameters()) for net in (dense, spiking)]
    # convolutions 400 + 4,608 + 18,432 + 36,864, batch norms 2·176, linear 650
    assert count == [61_306, 61_306]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (4, 8)}, "one entry per stage"),
        ({"kernels": (5, 3, 3, 2)}, "odd"),
        ({"strides": (2, 2, 1, 0)}, "strides is no count"),
        ({"channels": (), "kernels": (), "strides": ()}, "channels is no count"),
        ({"in_channels": 0}, "in_channels 0"),
        ({"classes": 2.5}, "classes 2.5"),
        ({"spiking": True, "beta": 1.5}, "beta 1.5"),
        ({"spiking": True, "threshold": 0.0}, "threshold 0.0"),
        ({"spiking": True, "threshold": float("nan")}, "threshold nan"),
    ],
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ConvNet(**settings)
