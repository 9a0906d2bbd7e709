"""Networks by name, dense and spiking."""

from neurokd.models.build import build_model
from neurokd.models.convnet import ConvNet

__all__ = ["ConvNet", "build_model"]
