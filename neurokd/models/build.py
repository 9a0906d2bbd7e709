"""`build_model`: a network by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from neurokd.errors import UsageError
from neurokd.models.cifar_resnet import CifarResNet
from neurokd.models.convmixer import ConvMixer
from neurokd.models.convnet import ConvNet
from neurokd.models.mlp import MLP
from neurokd.models.module import user_network
from neurokd.models.resnet import ResNet
from neurokd.models.spikformer import Spikformer
from neurokd.models.vgg import VGG

HIDDEN = 256
"""Units between the two linear layers of a ResNet student's head; a teacher has one layer."""


def _resnet19(*, spiking: bool, **geometry: Any) -> nn.Module:
    defaults = {"width": 8, "hidden": HIDDEN if spiking else None}
    return ResNet(blocks=(3, 3, 2), spiking=spiking, **(defaults | geometry))


def _resnet20(*, spiking: bool, **geometry: Any) -> nn.Module:
    defaults = {"width": 1, "hidden": HIDDEN if spiking else None}
    return ResNet(blocks=(3, 3, 3), spiking=spiking, **(defaults | geometry))


def _cifar_resnet(*, spiking: bool, **geometry: Any) -> nn.Module:
    return CifarResNet(**geometry)


def _convmixer(*, spiking: bool, **geometry: Any) -> nn.Module:
    return ConvMixer(**geometry)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "convnet": ConvNet,
    "vgg": VGG,
    "mlp": MLP,
    "resnet19": _resnet19,
    "resnet20": _resnet20,
    "spikformer": Spikformer,
    "cifar-resnet": _cifar_resnet,
    "convmixer": _convmixer,
    "module": user_network,
}
_CLASSES = {
    "resnet19": ResNet,
    "resnet20": ResNet,
    "cifar-resnet": CifarResNet,
    "convmixer": ConvMixer,
}
"""Whose options a builder passes on, where it has none itself."""
_DECIDED = {"spiking", "blocks"}
"""What is no option: given already, or said by the name."""
_DENSE_ONLY = ("cifar-resnet", "convmixer")


def build_model(name: str, *, spiking: bool, **geometry: Any) -> nn.Module:
    """A freshly initialised network, dense or spiking.

    Every network has ``feature_stages``, the module paths of its stages, first to last; its last
    linear layer lies at ``classifier``, or at ``classifier_path`` where it has that.

    Initialisation draws from torch's global generator: seed it first.
    Raises: `UsageError` for an unknown name or option, and for a geometry that cannot be.
    """
    if name not in MODELS:
        raise UsageError("unknown model", expected=", ".join(MODELS), found=repr(name))
    if spiking and name in _DENSE_ONLY:
        raise UsageError(
            "this network is a dense teacher, it has no spiking form",
            where=name,
            remedy="resnet20 is a student for it",
        )
    parameters = inspect.signature(_CLASSES.get(name, MODELS[name])).parameters
    offered = {key: p for key, p in parameters.items() if key not in _DECIDED}
    if unknown := sorted(geometry.keys() - offered.keys()):
        raise UsageError(
            "unknown option of this network",
            where=name,
            expected=", ".join(sorted(offered)),
            found=", ".join(unknown),
        )
    required = {key for key, p in offered.items() if p.default is p.empty}
    if missing := sorted(required - geometry.keys()):
        raise UsageError("this network needs an option", where=name, expected=", ".join(missing))
    return MODELS[name](spiking=spiking, **geometry)
