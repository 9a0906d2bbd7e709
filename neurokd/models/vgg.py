"""VGG-class networks, dense or spiking, of the same geometry."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from neurokd.models.form import Form, normalised
from neurokd.models.geometry import (
    LastActivation,
    require_counts,
    require_last_activation,
    require_per_stage,
)


class VGG(nn.Module):
    """Stages of 3×3 convolutions with average pooling between, and one linear classifier.

    Stage i is ``depths[i]`` times convolution, batch normalisation, activation, of ``channels[i]``;
    from the second stage on it begins with an average over 2×2. VGG's maximum and its three linear
    layers are not here: the maximum of spikes has no exact meaning on a chip that adds them, and
    CAM needs one linear layer behind global average pooling. The defaults are VGG-11's stages.

    The dense form uses ReLU and maps (B, C, H, W) → logits (B, K). The spiking form uses LIF
    neurons and an accumulating readout and maps (T, B, C, H, W) → membranes (T, B, K); its logits
    are the last membrane over T. With ``last_activation`` "relu" the spiking form's last features
    are real numbers, and it is no longer deployable.

    ``stages.i`` is stage i; ``classifier`` is the linear layer. H and W divide by
    2^(stages − 1).

    Raises: `UsageError` for a geometry that cannot be.
    Source: Simonyan and Zisserman, table 1 (arXiv 1409.1556).
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        depths: Sequence[int] = (1, 1, 2, 2, 2),
        classes: int = 10,
        spiking: bool = False,
        last_activation: LastActivation = "lif",
        beta: float = 0.5,
        threshold: float = 1.0,
    ) -> None:
        super().__init__()
        require_counts("VGG", in_channels=in_channels, classes=classes)
        require_per_stage("VGG", channels=channels, depths=depths)
        require_last_activation("VGG", last_activation)
        self.spiking = spiking
        form = Form(spiking, beta, threshold)
        stages: list[nn.Sequential] = []
        width = in_channels
        for out, depth in zip(channels, depths, strict=True):
            layers: list[nn.Module] = [form.layer(nn.AvgPool2d(2))] if stages else []
            for _ in range(depth):
                convolution = nn.Conv2d(width, out, 3, padding=1, bias=False)
                layers += [form.layer(normalised(convolution)), form.activation()]
                width = out
            stages.append(nn.Sequential(*layers))
        if spiking and last_activation == "relu":
            stages[-1][-1] = nn.ReLU()
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
