"""Networks by name, dense and spiking."""

from neurokd.models.build import build_model
from neurokd.models.cifar_resnet import CifarResNet
from neurokd.models.convmixer import ConvMixer
from neurokd.models.convnet import ConvNet
from neurokd.models.mlp import MLP
from neurokd.models.module import user_network
from neurokd.models.resnet import ResNet
from neurokd.models.spikformer import Spikformer
from neurokd.models.vgg import VGG

__all__ = [
    "MLP",
    "VGG",
    "CifarResNet",
    "ConvMixer",
    "ConvNet",
    "ResNet",
    "Spikformer",
    "build_model",
    "user_network",
]
