"""Mixup: training on weighted means of two samples and of their classes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def mixed(
    images: Tensor,
    classes: Tensor,
    number_of_classes: int,
    alpha: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Each sample mixed with another one of its batch, its class likewise.

    Equation: x̃ = λ x_i + (1 − λ) x_π(i), p̃ = λ e_y(i) + (1 − λ) e_y(π(i)), λ ~ Beta(α, α), one λ
    and one random permutation π for the batch.

    Shapes: images (B, *shape), classes (B,) int64 → images (B, *shape), probabilities (B, K).
    Source: Zhang et al. 2018 (arXiv 1710.09412), section 2.
    """
    weight = _beta(alpha, generator)
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    one_hot = F.one_hot(classes, number_of_classes).to(images.dtype)
    return (
        weight * images + (1 - weight) * images[partner],
        weight * one_hot + (1 - weight) * one_hot[partner.to(classes.device)],
    )


def _beta(alpha: float, generator: torch.Generator) -> float:
    """One number of Beta(α, α); torch draws none from a generator of one's own, numpy does."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))
