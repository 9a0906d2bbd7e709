"""ConvMixer: convolutions that mix places and channels in turn, at one resolution. Dense."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.models.geometry import require_counts

MEAN = (0.5071, 0.4865, 0.4409)
STANDARD_DEVIATION = (0.2673, 0.2564, 0.2762)
"""Of RGB in [0, 1] of CIFAR-100, by which the input is normalised."""
_BLOCK = 4
"""Layers of a block; three stand before the first, two behind the last."""


class ConvMixer(nn.Module):
    """A patch embedding, ``depth`` blocks, and a linear classifier of the mean over all places.

    Equation: u = BN(GELU(patch convolution)); for each block v = u + BN(GELU(depthwise(u))),
    u = BN(GELU(pointwise(v))); z = W mean(u) + b. The input is normalised inside.

    Layers have the numbers of the reference's Sequential as names, so that its weights fit; the
    last one, ``classifier_path``, is the classifier. Each block's output is a feature stage.
    Shapes: (B, 3, H, W), RGB in [0, 1], H and W at least ``patch`` → logits (B, K).
    Raises: `UsageError` for a geometry that cannot be.
    Source: Trockman and Kolter, "Patches Are All You Need?" (arXiv 2201.09792).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        dim: int = 256,
        depth: int = 8,
        kernel: int = 5,
        patch: int = 2,
        in_channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        require_counts(
            "ConvMixer", dim=dim, depth=depth, kernel=kernel, patch=patch, classes=classes
        )
        if in_channels != 3:
            raise UsageError(
                "this network is for RGB images",
                where="ConvMixer",
                expected="3 input channels",
                found=str(in_channels),
            )
        # fixed, and no part of the weights
        per_channel = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STANDARD_DEVIATION))
        for name, value in zip(("mean", "deviation"), per_channel, strict=True):
            self.register_buffer(name, value, persistent=False)
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, dim, patch, patch),
            nn.GELU(),
            nn.BatchNorm2d(dim),
        ]
        for _ in range(depth):
            layers += [SpatialMixing(dim, kernel), nn.Conv2d(dim, dim, 1), nn.GELU()]
            layers.append(nn.BatchNorm2d(dim))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(dim, classes)]
        for number, layer in enumerate(layers):
            self.add_module(str(number), layer)
        self.layers = len(layers)
        self.depth = depth

    @property
    def feature_stages(self) -> tuple[str, ...]:
        """Module paths of the blocks' last layers, whose outputs are (B, dim, H', W')."""
        return tuple(str(2 + _BLOCK * block) for block in range(1, self.depth + 1))

    @property
    def classifier_path(self) -> str:
        """Module path of the linear classifier; what enters it is the embedding (B, dim)."""
        return str(self.layers - 1)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.deviation
        for number in range(self.layers):
            x = self.get_submodule(str(number))(x)
        return x


class SpatialMixing(nn.Module):
    """x + fn(x), where fn is a depthwise convolution, GELU and batch normalisation."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.fn = nn.Sequential(
            nn.Conv2d(dim, dim, kernel, groups=dim, padding="same"),
            nn.GELU(),
            nn.BatchNorm2d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.fn(x)
        return x + mixed
