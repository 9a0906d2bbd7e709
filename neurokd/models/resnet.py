"""Residual networks of the CIFAR family, dense or spiking, of the same geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.neurons import LIF, Accumulator, PerStep

LastActivation = Literal["lif", "relu"]
_CHANNELS = 16
_STRIDES = (1, 2, 2)


class ResNet(nn.Module):
    """A stem, three stages of residual blocks, global average pooling and a linear head.

    The dense form uses ReLU and maps (B, C, H, W) → logits (B, K). The spiking form uses LIF
    neurons and an accumulating readout and maps (T, B, C, H, W) → membranes (T, B, K); its logits
    are the last membrane over T. The stem is conv3×3–BN–activation; stage i has ``blocks[i]``
    blocks of 16·width·2^i channels, the first with stride 1, 2, 2. Convolutions have no bias.

    ``last_activation`` is that of the spiking form's last block: with "relu" the features that
    distillation sees are real numbers, as in the reference code, and the network is no longer
    deployable. With ``hidden`` the head is two linear layers with nothing between; CAM needs a
    teacher without.

    ``stages.i`` is stage i; ``classifier`` is the last linear layer. H and W divide by 4.

    Raises: `UsageError` for blocks that are not three positive numbers, or an unknown activation.
    Source: CKDSNN (arXiv 2511.06902).
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 3, 3),
        width: int = 1,
        in_channels: int = 3,
        classes: int = 10,
        spiking: bool = False,
        hidden: int | None = None,
        last_activation: LastActivation = "lif",
        beta: float = 0.5,
        threshold: float = 1.0,
    ) -> None:
        super().__init__()
        if len(blocks) != len(_STRIDES) or min(*blocks, width, hidden or 1) < 1:
            raise UsageError(
                "this is no residual network",
                where="ResNet",
                expected="three stages of one block or more, width and hidden of 1 or more",
                found=f"blocks {tuple(blocks)}, width {width}, hidden {hidden}",
            )
        if last_activation not in ("lif", "relu"):
            raise UsageError(
                "unknown last activation",
                where="ResNet",
                expected="'lif' or 'relu'",
                found=repr(last_activation),
            )
        self.spiking = spiking
        channels = _CHANNELS * width

        def activation() -> nn.Module:
            return LIF(beta, threshold) if spiking else nn.ReLU()

        def per_step(layer: nn.Module) -> nn.Module:
            return PerStep(layer) if spiking else layer

        self.stem = nn.Sequential(
            per_step(_normalised(nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False))),
            activation(),
        )
        stages = []
        for stage, (depth, stride) in enumerate(zip(blocks, _STRIDES, strict=True)):
            out = _CHANNELS * width * 2**stage
            stages.append(
                nn.Sequential(
                    *(
                        BasicBlock(
                            channels if block == 0 else out,
                            out,
                            stride if block == 0 else 1,
                            activation,
                            per_step,
                        )
                        for block in range(depth)
                    )
                )
            )
            channels = out
        self.stages = nn.Sequential(*stages)
        if spiking and last_activation == "relu":
            self.stages.get_submodule(f"{len(blocks) - 1}.{blocks[-1] - 1}").activation = nn.ReLU()
        self.pool = per_step(nn.AdaptiveAvgPool2d(1))
        self.flatten = per_step(nn.Flatten())
        self.hidden = per_step(nn.Linear(channels, hidden)) if hidden else nn.Identity()
        self.classifier = per_step(nn.Linear(hidden or channels, classes))
        self.readout: nn.Module = Accumulator() if spiking else nn.Identity()

    @property
    def last_stage(self) -> str:
        """Module path of the last stage, whose features distillation compares."""
        return f"stages.{len(self.stages) - 1}"

    def forward(self, x: Tensor) -> Tensor:
        features = self.flatten(self.pool(self.stages(self.stem(x))))
        scores: Tensor = self.readout(self.classifier(self.hidden(features)))
        return scores


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut around them.

    Equation: y = act(BN(conv(act(BN(conv(x))))) + shortcut(x)). The shortcut is the identity, or
    average pooling, conv1×1 and BN where the shape changes: linear, it has no activation.

    Shapes: (…, in, H, W) → (…, out, H / stride, W / stride).
    """

    def __init__(
        self,
        channels: int,
        out: int,
        stride: int,
        activation: Callable[[], nn.Module],
        per_step: Callable[[nn.Module], nn.Module],
    ) -> None:
        super().__init__()
        first = _normalised(nn.Conv2d(channels, out, 3, stride, 1, bias=False))
        second = _normalised(nn.Conv2d(out, out, 3, 1, 1, bias=False))
        self.residual = nn.Sequential(per_step(first), activation(), per_step(second))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            projection = _normalised(nn.Conv2d(channels, out, 1, bias=False))
            pool = [nn.AvgPool2d(stride)] if stride != 1 else []
            self.shortcut = per_step(nn.Sequential(*pool, *projection))
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return y


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
