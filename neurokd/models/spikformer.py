"""Spikformer: vision transformers of spiking neurons, and their dense form."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.models.form import Form, normalised
from neurokd.models.geometry import LastActivation, require_counts, require_last_activation

SCALE = 0.125
"""Of (Q Kᵀ) V, whatever the width of a head."""


class Spikformer(nn.Module):
    """A convolutional patch stem, blocks of self-attention and MLP, and one linear classifier.

    Tokens are the pixels of a map from end to end: what is a linear layer on tokens is a 1×1
    convolution here, with the same weights. The defaults are Spikformer-4-384: 9,324,730
    parameters for 10 classes, the published 9.32 million. (The reference code also creates 6,144
    parameters of layer normalisation that it never uses.)

    The spiking form maps (T, B, C, H, W) → membranes (T, B, K); its logits are the last membrane
    over T, which is the reference's head on the mean over tokens and steps. Its neurons are
    neurokd's, v ← β v + x with ``threshold``, and half of it behind attention. The reference's,
    v ← v + (x − v) / 2 with thresholds 1 and 0.5, are the same at ``threshold`` = 2, except that
    they also fire where v only equals the threshold.

    The dense form maps (B, C, H, W) → logits (B, K), with ReLU in place of every neuron. Spikes
    bound (Q Kᵀ) V and ReLUs do not, so its attention is softmax(Q Kᵀ / √width) V.

    It cannot be deployed: neither a maximum nor a product of two spike trains can be written in
    NIR, and tracing says so. With ``last_activation`` "relu" the last features are real numbers.

    ``stages.i`` is block i, its output (…, dim, H / 4, W / 4); ``classifier`` is the linear layer.

    Raises: `UsageError` for a geometry that cannot be.
    Source: Spikformer (arXiv 2209.15425).
    """

    def __init__(
        self,
        in_channels: int = 3,
        dim: int = 384,
        depth: int = 4,
        heads: int = 12,
        mlp_ratio: int = 4,
        classes: int = 10,
        spiking: bool = False,
        last_activation: LastActivation = "lif",
        beta: float = 0.5,
        threshold: float = 1.0,
    ) -> None:
        super().__init__()
        require_counts(
            "Spikformer",
            in_channels=in_channels,
            dim=dim,
            depth=depth,
            heads=heads,
            mlp_ratio=mlp_ratio,
            classes=classes,
        )
        require_last_activation("Spikformer", last_activation)
        if dim % heads or dim % 8:
            raise UsageError(
                "dim must be a multiple of heads and of 8",
                where="Spikformer",
                found=f"dim {dim}, heads {heads}",
            )
        self.spiking = spiking
        form = Form(spiking, beta, threshold)
        self.stem = PatchStem(in_channels, dim, form)
        self.stages = nn.Sequential(*(Block(dim, heads, mlp_ratio, form) for _ in range(depth)))
        if spiking and last_activation == "relu":
            self.stages.get_submodule(f"{depth - 1}.mlp").register_module("3", nn.ReLU())
        self.pool = form.layer(nn.AdaptiveAvgPool2d(1))
        self.flatten = form.layer(nn.Flatten())
        self.classifier = form.layer(nn.Linear(dim, classes))
        self.readout = form.readout()
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def feature_stages(self) -> tuple[str, ...]:
        """Module paths of the blocks, whose outputs (…, C, H, W) distillation compares."""
        return tuple(f"stages.{i}" for i in range(len(self.stages)))

    def forward(self, x: Tensor) -> Tensor:
        features = self.stages(self.stem(x))
        scores: Tensor = self.readout(self.classifier(self.flatten(self.pool(features))))
        return scores


class PatchStem(nn.Module):
    """Four 3×3 convolutions of dim / 8, / 4, / 2 and dim channels, the map halved behind the last
    two, and a residual convolution in place of a positional code.

    Equation: p = stem(x); y = p + act(BN(conv(p))).
    Shapes: (…, in, H, W) → (…, dim, H / 4, W / 4).
    """

    def __init__(self, in_channels: int, dim: int, form: Form) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for part in (8, 4, 2, 1):
            convolution = nn.Conv2d(width, dim // part, 3, padding=1, bias=False)
            layers += [form.layer(normalised(convolution)), form.activation()]
            if part <= 2:
                layers.append(form.layer(nn.MaxPool2d(3, stride=2, padding=1)))
            width = dim // part
        self.patches = nn.Sequential(*layers)
        position = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.position = nn.Sequential(form.layer(normalised(position)), form.activation())

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.patches(x)
        y: Tensor = patches + self.position(patches)
        return y


class Block(nn.Module):
    """Self-attention and an MLP, each beside a shortcut.

    Equation: y = x + attention(x); z = y + mlp(y). Shapes: (…, dim, H, W) → the same.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: int, form: Form) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads, form)
        self.mlp = nn.Sequential(
            *_on_tokens(dim, mlp_ratio * dim, form), *_on_tokens(mlp_ratio * dim, dim, form)
        )

    def forward(self, x: Tensor) -> Tensor:
        attended = x + self.attention(x)
        y: Tensor = attended + self.mlp(attended)
        return y


class SelfAttention(nn.Module):
    """Self-attention among the pixels of a map; Q, K and V are spikes, or ReLU's outputs.

    Equation: y = act(BN(W act(A) + b)), by head A = SCALE · (Q Kᵀ) V spiking,
    A = softmax(Q Kᵀ / √width) V dense. Without a softmax the product may be taken as Q (Kᵀ V),
    which is exact in whole numbers and costs width² instead of pixels² for each pixel.

    Shapes: (…, dim, H, W) → the same.
    """

    def __init__(self, dim: int, heads: int, form: Form) -> None:
        super().__init__()
        self.heads = heads
        self.spiking = form.spiking
        self.query, self.key, self.value, self.project = (
            nn.Sequential(*_on_tokens(dim, dim, form)) for _ in range(4)
        )
        self.activation = form.activation(threshold=form.threshold / 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._by_head(layer(x)) for layer in (self.query, self.key, self.value))
        if self.spiking:
            attended = (v @ k.transpose(-2, -1)) @ q * SCALE
        else:
            q, k, v = (tokens.transpose(-2, -1) for tokens in (q, k, v))
            attended = F.scaled_dot_product_attention(q, k, v).transpose(-2, -1)
        y: Tensor = self.project(self.activation(attended.reshape(x.shape)))
        return y

    def _by_head(self, maps: Tensor) -> Tensor:
        """(…, dim, H, W) → (…, heads, width, pixels)."""
        by_head: Tensor = maps.flatten(-2).unflatten(-2, (self.heads, -1))
        return by_head


def _on_tokens(channels: int, out: int, form: Form) -> tuple[nn.Module, nn.Module]:
    """A linear layer on every token, normalised, and its activation."""
    return form.layer(normalised(nn.Conv2d(channels, out, 1))), form.activation()
