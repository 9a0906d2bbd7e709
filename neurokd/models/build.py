"""`build_model`: a network by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from neurokd.errors import UsageError
from neurokd.models.convnet import ConvNet

MODELS: dict[str, Callable[..., nn.Module]] = {"convnet": ConvNet}


def build_model(name: str, *, spiking: bool, **geometry: Any) -> nn.Module:
    """A freshly initialised network, dense or spiking.

    Initialisation draws from torch's global generator: seed it first.
    Raises: `UsageError` for an unknown name.
    """
    if name not in MODELS:
        raise UsageError("unknown model", expected=", ".join(MODELS), found=repr(name))
    return MODELS[name](spiking=spiking, **geometry)
