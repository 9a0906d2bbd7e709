"""Networks by name, dense and spiking."""

from neurokd.models.build import build_model
from neurokd.models.convnet import ConvNet
from neurokd.models.resnet import ResNet

__all__ = ["ConvNet", "ResNet", "build_model"]
