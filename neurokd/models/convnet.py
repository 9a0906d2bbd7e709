"""A small convolutional network, dense or spiking, of the same geometry."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.models.form import Form, normalised
from neurokd.models.geometry import require_counts, require_per_stage


class ConvNet(nn.Module):
    """Convolution stages, global average pooling and one linear classifier (what CAM needs).

    The dense form uses ReLU and maps (B, C, H, W) → logits (B, K). The spiking form uses LIF
    neurons and an accumulating readout and maps (T, B, C, H, W) → membranes (T, B, K); its logits
    are the last membrane over T. Each stage is convolution, batch normalisation, activation.

    ``stages.i`` is stage i; ``classifier`` is the linear layer.

    Raises: `UsageError` for a geometry that cannot be.
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
        require_counts("ConvNet", in_channels=in_channels, classes=classes)
        require_per_stage("ConvNet", channels=channels, kernels=kernels, strides=strides)
        if any(kernel % 2 == 0 for kernel in kernels):
            raise UsageError(
                "kernels must be odd, so that padding keeps the geometry",
                where="ConvNet",
                found=f"kernels {tuple(kernels)}",
            )
        self.spiking = spiking
        form = Form(spiking, beta, threshold)
        stages = []
        width = in_channels
        for out, kernel, stride in zip(channels, kernels, strides, strict=True):
            convolution = nn.Conv2d(width, out, kernel, stride, kernel // 2, bias=False)
            stages.append(nn.Sequential(form.layer(normalised(convolution)), form.activation()))
            width = out
        self.stages = nn.Sequential(*stages)
        self.pool = form.layer(nn.AdaptiveAvgPool2d(1))
        self.flatten = form.layer(nn.Flatten())
        self.classifier = form.layer(nn.Linear(width, classes))
        self.readout = form.readout()

    @property
    def feature_stages(self) -> tuple[str, ...]:
        """Module paths of the stages, whose outputs (…, C, H, W) distillation compares."""
        return tuple(f"stages.{i}" for i in range(len(self.stages)))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.readout(self.classifier(self.flatten(self.pool(self.stages(x)))))
        return scores
