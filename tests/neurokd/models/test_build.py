"""`build_model`: every network by its name, its options, and the configuration that names it."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from neurokd.config import TrainConfig
from neurokd.errors import UsageError
from neurokd.models import build_model
from neurokd.models.build import MODELS
from neurokd.run import configured_model

SMALL: dict[str, dict[str, Any]] = {
    "convnet": {"channels": (4,), "kernels": (3,), "strides": (2,)},
    "vgg": {"channels": (4, 4), "depths": (1, 1)},
    "mlp": {"inputs": 8, "sizes": (4,)},
    "resnet19": {"width": 1},
    "resnet20": {"width": 1},
    "spikformer": {"dim": 16, "depth": 1, "heads": 2, "mlp_ratio": 1},
    "cifar-resnet": {"layers": 20},
    "convmixer": {"dim": 8, "depth": 1, "kernel": 3, "patch": 2},
}


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("name", SMALL)
def test_the_configuration_builds_the_same_network(name: str, role: str) -> None:
    values = {"role": role, "model": {"name": name, **SMALL[name]}}
    spiking = role == "student"
    if name in ("cifar-resnet", "convmixer") and spiking:
        with pytest.raises(ValueError, match="dense teacher"):
            TrainConfig.model_validate(values)
        return
    config = TrainConfig.model_validate(values)
    built = configured_model(config)
    wanted = build_model(name, spiking=spiking, **SMALL[name])
    state = {key: tuple(value.shape) for key, value in built.state_dict().items()}
    assert state == {key: tuple(value.shape) for key, value in wanted.state_dict().items()}
    for path in built.feature_stages:
        assert isinstance(built.get_submodule(path), nn.Module)


def test_every_network_is_here() -> None:
    assert set(MODELS) == {*SMALL, "module"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet-1", {}, "convnet, vgg, mlp"),
        ("convnet", {"widht": 3}, "widht"),
        ("resnet20", {"blocks": (1, 1, 1)}, "unknown option.*found blocks"),
        ("resnet19", {"depths": (1,)}, "expected beta, classes, hidden"),
        ("mlp", {"in_channels": 3}, "inputs, sizes"),
        ("cifar-resnet", {"width": 2}, "classes, in_channels, layers"),
        ("module", {"file": "x.py"}, "expected classes, classifier, factory, stages"),
        ("module", {"stages": ["body"]}, "needs an option .expected factory"),
    ],
)
def test_what_is_not_offered_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_model(name, spiking=False, **options)
