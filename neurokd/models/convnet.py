"""A small convolutional network, dense or spiking, of the same geometry."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from neurokd.neurons import LIF, Accumulator, PerStep


class ConvNet(nn.Module):
    """Convolution stages, global average pooling and one linear classifier (what CAM needs).

    The dense form uses ReLU and maps (B, C, H, W) → logits (B, K). The spiking form uses LIF
    neurons and an accumulating readout and maps (T, B, C, H, W) → membranes (T, B, K); its logits
    are the last membrane over T. Each stage is convolution, batch normalisation, activation.

    ``stages.i`` is stage i; ``classifier`` is the linear layer.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (16, 32, 64, 64),
        kernels: Sequence[int] = (5, 3, 3, 3),
        strides: Sequence[int] = (2, 2, 1, 1),
        classes: int = 10,
        spiking: bool = False,
        beta: float = 0.5,
        threshold: float = 1.0,
    ) -> None:
        super().__init__()
        self.spiking = spiking
        stages = []
        width = in_channels
        for out, kernel, stride in zip(channels, kernels, strides, strict=True):
            convolution = nn.Sequential(
                nn.Conv2d(width, out, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(out),
            )
            stages.append(
                nn.Sequential(PerStep(convolution), LIF(beta, threshold))
                if spiking
                else nn.Sequential(convolution, nn.ReLU())
            )
            width = out
        self.stages = nn.Sequential(*stages)
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)
        self.pool, self.flatten, self.classifier = (
            (PerStep(layer) if spiking else layer) for layer in head
        )
        self.readout: nn.Module = Accumulator() if spiking else nn.Identity()

    @property
    def last_stage(self) -> str:
        """Module path of the last stage, whose features distillation compares."""
        return f"stages.{len(self.stages) - 1}"

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.readout(self.classifier(self.flatten(self.pool(self.stages(x)))))
        return scores
