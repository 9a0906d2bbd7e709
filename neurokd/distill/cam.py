"""Activation maps: where a network saw what it answers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokd.errors import ShapeMismatchError, UsageError


def class_activation_maps(features: Tensor, weight: Tensor) -> Tensor:
    """One map for every class: the linear classifier as a 1×1 convolution, without its bias.

    Equation: M_k = Σ_c W[k, c] F[c]. Behind global average pooling, logit k is the mean of M_k
    plus the bias.

    Shapes: features (B, C, H, W), weight (K, C) → (B, K, H, W).
    Raises: `ShapeMismatchError`.
    Source: Zhou et al. 2016 (arXiv 1512.04150), Eq. 2; CAT-KD (CVPR 2023).
    """
    _require_classifier(features, weight)
    return torch.einsum("kc,bchw->bkhw", at_least_float32(weight), at_least_float32(features))


def class_activation_map(features: Tensor, weight: Tensor, logits: Tensor) -> Tensor:
    """CAM of the class that the network predicts.

    Equation: M = ReLU(Σ_c W[k*, c] F[c]), k* = argmax of the logits, no bias.

    Shapes: features (B, C, H, W), weight (K, C), logits (B, K) → (B, H, W).
    Raises: `ShapeMismatchError`.
    Source: Zhou et al. 2016 (arXiv 1512.04150), Eq. 2; CKDSNN (arXiv 2511.06902).
    """
    _require_classifier(features, weight)
    if logits.shape != (len(features), len(weight)):
        raise ShapeMismatchError(
            "logits and classifier differ in the number of classes, or in the batch",
            where="class activation map",
            expected=f"({len(features)}, {len(weight)})",
            found=str(tuple(logits.shape)),
        )
    predicted = at_least_float32(weight)[logits.argmax(dim=1)]
    return torch.relu(torch.einsum("bc,bchw->bhw", predicted, at_least_float32(features)))


def grad_cam(
    features: Tensor, logits: Tensor, arrange: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Grad-CAM of the class that the network predicts: CAM for features of any stage.

    Equation: M = ReLU(Σ_c α_c F[c]), α_c = mean_HW ∂z_k* / ∂F[c], k* = argmax of the logits z. It
    is CAM / (H·W) where global average pooling and one linear layer follow the features.

    The logits must depend on ``features`` in autograd. Their graph is used up, no ``.grad`` is
    written anywhere, and the map is a constant. Samples must not influence each other, which in a
    network in evaluation mode they do not. ``arrange`` makes maps of features that are tokens.

    Shapes: features (B, C, H, W), once arranged, logits (B, K) → (B, H, W).
    Raises: `UsageError` if the logits do not depend on the features.
    Source: Selvaraju et al. 2017 (arXiv 1610.02391), Eqs. 1 and 2.
    """
    gradient = None
    if logits.requires_grad:
        predicted = logits.gather(1, logits.argmax(dim=1, keepdim=True))
        (gradient,) = torch.autograd.grad(predicted.sum(), features, allow_unused=True)
    if gradient is None:
        raise UsageError(
            "the logits do not depend on these features by gradients",
            where="Grad-CAM",
            remedy="name a stage that they are computed from, in a network without no_grad inside",
        )
    maps, slopes = features.detach(), gradient
    if arrange is not None:
        maps, slopes = arrange(maps), arrange(slopes)
    alpha = at_least_float32(slopes).mean(dim=(2, 3))
    return torch.relu(torch.einsum("bc,bchw->bhw", alpha, at_least_float32(maps)))


def spike_activation_map(features: Tensor) -> Tensor:
    """SAM: everything that a spiking stage emitted, per position.

    Equation: M = Σ_t Σ_c S[t, c]. Shapes: features (T, B, C, H, W) → (B, H, W).
    Source: CKDSNN (arXiv 2511.06902).
    """
    return features.sum(dim=(0, 2), dtype=torch.promote_types(features.dtype, torch.float32))


def mean_over_time(features: Tensor) -> Tensor:
    """What a spiking stage emits per step. Shapes: (T, B, C, H, W) → (B, C, H, W)."""
    return features.mean(dim=0, dtype=torch.promote_types(features.dtype, torch.float32))


def pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Adaptive average pooling of (…, H, W) to (…, *size).

    Whole windows are pooled as such: the backward pass of that is deterministic on a GPU, too.
    """
    height, width = maps.shape[-2:]
    if (height, width) == size:
        return maps
    if height % size[0] == 0 and width % size[1] == 0:
        return F.avg_pool2d(maps, (height // size[0], width // size[1]))
    return F.adaptive_avg_pool2d(maps, size)


def at_least_float32(values: Tensor) -> Tensor:
    """Sums over channels and positions in half precision would lose what the losses compare."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _require_classifier(features: Tensor, weight: Tensor) -> None:
    if features.ndim != 4 or weight.ndim != 2 or weight.shape[1] != features.shape[1]:
        raise ShapeMismatchError(
            "the classifier's weights do not match the channels of the features",
            where="class activation map",
            expected="features (B, C, H, W) and weight (K, C)",
            found=f"{tuple(features.shape)} and {tuple(weight.shape)}",
            remedy="take the features that are pooled for the linear classifier",
        )
