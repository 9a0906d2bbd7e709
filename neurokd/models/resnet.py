"""Residual networks of the CIFAR family, dense or spiking, of the same geometry."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.models.form import Form, normalised
from neurokd.models.geometry import LastActivation, require_counts, require_last_activation

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
    deployable. With ``hidden`` the head is two linear layers with nothing between.

    ``stages.i`` is stage i; ``classifier`` is the last linear layer. H and W divide by 4.

    Raises: `UsageError` for a geometry that cannot be.
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
        require_counts(
            "ResNet", blocks=blocks, width=width, in_channels=in_channels, classes=classes
        )
        if len(blocks) != len(_STRIDES):
            raise UsageError(
                "this is no residual network",
                where="ResNet",
                expected="blocks of three stages",
                found=str(tuple(blocks)),
            )
        if hidden is not None:
            require_counts("ResNet", hidden=hidden)
        require_last_activation("ResNet", last_activation)
        self.spiking = spiking
        form = Form(spiking, beta, threshold)
        channels = _CHANNELS * width
        stem = nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(form.layer(normalised(stem)), form.activation())
        stages = []
        for stage, (depth, stride) in enumerate(zip(blocks, _STRIDES, strict=True)):
            out = _CHANNELS * width * 2**stage
            first = BasicBlock(channels, out, stride, form)
            rest = (BasicBlock(out, out, 1, form) for _ in range(depth - 1))
            stages.append(nn.Sequential(first, *rest))
            channels = out
        self.stages = nn.Sequential(*stages)
        if spiking and last_activation == "relu":
            self.stages.get_submodule(f"{len(blocks) - 1}.{blocks[-1] - 1}").activation = nn.ReLU()
        self.pool = form.layer(nn.AdaptiveAvgPool2d(1))
        self.flatten = form.layer(nn.Flatten())
        self.hidden = form.layer(nn.Linear(channels, hidden)) if hidden else nn.Identity()
        self.classifier = form.layer(nn.Linear(hidden or channels, classes))
        self.readout = form.readout()

    @property
    def feature_stages(self) -> tuple[str, ...]:
        """Module paths of the stages, whose outputs (…, C, H, W) distillation compares."""
        return tuple(f"stages.{i}" for i in range(len(self.stages)))

    @property
    def linear_head(self) -> tuple[str, ...]:
        """Module paths of the head's linear layers, which compute one linear map together."""
        return ("classifier",) if isinstance(self.hidden, nn.Identity) else ("hidden", "classifier")

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

    def __init__(self, channels: int, out: int, stride: int, form: Form) -> None:
        super().__init__()
        first = normalised(nn.Conv2d(channels, out, 3, stride, 1, bias=False))
        second = normalised(nn.Conv2d(out, out, 3, 1, 1, bias=False))
        self.residual = nn.Sequential(form.layer(first), form.activation(), form.layer(second))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            projection = normalised(nn.Conv2d(channels, out, 1, bias=False))
            pool = [nn.AvgPool2d(stride)] if stride != 1 else []
            self.shortcut = form.layer(nn.Sequential(*pool, *projection))
        self.activation = form.activation()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return y
