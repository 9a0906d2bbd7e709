"""`build_model`: a network by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from neurokd.errors import UsageError
from neurokd.models.convnet import ConvNet
from neurokd.models.resnet import ResNet

HIDDEN = 256
"""Units between the two linear layers of a ResNet student's head; a teacher has one layer."""


def _resnet19(*, spiking: bool, **geometry: Any) -> nn.Module:
    defaults = {"width": 8, "hidden": HIDDEN if spiking else None}
    return ResNet(blocks=(3, 3, 2), spiking=spiking, **(defaults | geometry))


def _resnet20(*, spiking: bool, **geometry: Any) -> nn.Module:
    defaults = {"width": 1, "hidden": HIDDEN if spiking else None}
    return ResNet(blocks=(3, 3, 3), spiking=spiking, **(defaults | geometry))


MODELS: dict[str, Callable[..., nn.Module]] = {
    "convnet": ConvNet,
    "resnet19": _resnet19,
    "resnet20": _resnet20,
}


def build_model(name: str, *, spiking: bool, **geometry: Any) -> nn.Module:
    """A freshly initialised network, dense or spiking.

    Initialisation draws from torch's global generator: seed it first.
    Raises: `UsageError` for an unknown name.
    """
    if name not in MODELS:
        raise UsageError("unknown model", expected=", ".join(MODELS), found=repr(name))
    return MODELS[name](spiking=spiking, **geometry)
