"""The CIFAR-10 residual networks whose trained weights are published: dense teachers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.models.geometry import require_counts

MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)
"""Of RGB in [0, 1], as the published weights expect their input."""
_CHANNELS = (16, 32, 64)


class CifarResNet(nn.Module):
    """ResNet-20, -32 or -56 with shortcuts without weights (option A), dense.

    Layers and their names are those of the published weights: ``conv1``, ``bn1``,
    ``layer{1,2,3}.<block>.conv{1,2}``, ``bn{1,2}``, ``linear``. The input is normalised inside.

    ``layer1`` … ``layer3`` are the stages, 16, 32 and 64 channels; ``linear`` is the classifier.
    Shapes: (B, 3, H, W), RGB in [0, 1] → logits (B, K).
    Raises: `UsageError` for a geometry that cannot be.
    Source: He et al., section 4.2 (arXiv 1512.03385); weights by Y. Idelbayev
    (pytorch_resnet_cifar10).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: int = 20, in_channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        require_counts("CifarResNet", classes=classes)
        if layers not in (20, 32, 56) or in_channels != 3:
            raise UsageError(
                "there is no such network",
                where="CifarResNet",
                expected="20, 32 or 56 layers, 3 input channels",
                found=f"{layers} layers, {in_channels} input channels",
            )
        # fixed, and no part of the published weights
        per_channel = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STANDARD_DEVIATION))
        for name, value in zip(("mean", "deviation"), per_channel, strict=True):
            self.register_buffer(name, value, persistent=False)
        width = _CHANNELS[0]
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages = []
        for out in _CHANNELS:
            blocks = []
            for _ in range((layers - 2) // 6):
                blocks.append(PaddedBlock(width, out))
                width = out
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(width, classes)

    @property
    def feature_stages(self) -> tuple[str, ...]:
        """Module paths of the stages, whose outputs (B, C, H, W) distillation compares."""
        return ("layer1", "layer2", "layer3")

    @property
    def classifier_path(self) -> str:
        """Module path of the linear classifier."""
        return "linear"

    def forward(self, x: Tensor) -> Tensor:
        normalised = (x - self.mean) / self.deviation
        features = F.relu(self.bn1(self.conv1(normalised)))
        features = self.layer3(self.layer2(self.layer1(features)))
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits


class PaddedBlock(nn.Module):
    """Two convolutions and a shortcut that has no weights.

    Equation: y = ReLU(BN(conv(ReLU(BN(conv(x))))) + shortcut(x)). Where channels grow, the first
    convolution has stride 2, and the shortcut is every second pixel, with zeros as new channels,
    half before and half behind.

    Shapes: (B, in, H, W) → (B, out, ⌈H / stride⌉, ⌈W / stride⌉).
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stride = 1 if out == channels else 2
        self.new_channels = out - channels
        self.conv1 = nn.Conv2d(channels, out, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.new_channels:
            before = self.new_channels // 2
            behind = self.new_channels - before
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, behind))
        return F.relu(residual + x)
