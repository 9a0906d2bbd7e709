"""Learned policies of augmentation: AutoAugment and RandAugment, one draw an image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurokd.training.image_operations import COLOUR, GEOMETRY, coloured, moved

RAND_AUGMENT = (
    "identity",
    "auto_contrast",
    "equalize",
    "posterize",
    "solarize",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    *GEOMETRY,
)
"""The 14 operations of RandAugment."""
LEVELS = 9
"""The highest level of an operation in AutoAugment's policies."""
MAGNITUDES = 30
"""The highest magnitude of RandAugment."""
_NAMES = ("identity", *COLOUR, *GEOMETRY)


def auto_augmented(images: Tensor, policy: str, generator: torch.Generator) -> Tensor:
    """Each image changed by a sub-policy of its own, drawn from the 25 of ``policy``.

    A sub-policy is two operations in a row, each with a probability and a level. The tables are
    those of kornia; its own AutoAugment draws one sub-policy for a whole batch, and reads some
    levels backwards.

    Shapes: images (B, 3, H, W) in [0, 1] → same. ``policy``: cifar10, imagenet or svhn.
    Source: Cubuk et al. 2019 (arXiv 1805.09501), tables 6 to 9.
    """
    from kornia.augmentation.auto.autoaugment import autoaugment

    table = getattr(autoaugment, f"{policy}_policy")
    pairs = [list(zip(*sub_policy, strict=True)) for sub_policy in table]
    kinds = torch.tensor([[_NAMES.index(name) for name in pair[0]] for pair in pairs])
    probabilities = torch.tensor([pair[1] for pair in pairs])
    levels = torch.tensor([[level or 0 for level in pair[2]] for pair in pairs]) / LEVELS
    chosen = torch.randint(len(table), (len(images),), generator=generator)
    for slot in range(kinds.shape[1]):
        applied = torch.rand(len(images), generator=generator) < probabilities[chosen, slot]
        images = _operated(images, kinds[chosen, slot] * applied, levels[chosen, slot], generator)
    return images


def rand_augmented(
    images: Tensor, operations: int, magnitude: int, generator: torch.Generator
) -> Tensor:
    """Each image changed by ``operations`` operations in a row, drawn from 14 with replacement.

    Shapes: images (B, 3, H, W) in [0, 1] → same. Units: ``magnitude`` from 0 to 30, the largest.
    Source: Cubuk et al. 2020 (arXiv 1909.13719), section 3.
    """
    names = torch.tensor([_NAMES.index(name) for name in RAND_AUGMENT])
    strength = torch.full((len(images),), magnitude / MAGNITUDES)
    for _ in range(operations):
        chosen = torch.randint(len(names), (len(images),), generator=generator)
        images = _operated(images, names[chosen], strength, generator)
    return images


def _operated(
    images: Tensor, kinds: Tensor, strength: Tensor, generator: torch.Generator
) -> Tensor:
    """One operation on each image; half of those that have a direction go the other way."""
    sign = torch.randint(2, (len(images),), generator=generator) * 2.0 - 1.0
    result = images.clone()
    groups: list[tuple[tuple[str, ...], Callable[[Tensor, str, Tensor, Tensor], Tensor]]] = [
        (COLOUR, coloured),
        (GEOMETRY, moved),
    ]
    for names, operation in groups:
        for name in names:
            (these,) = (kinds == _NAMES.index(name)).nonzero(as_tuple=True)
            if len(these):
                place = these.to(images.device)
                result[place] = operation(images[place], name, strength[these], sign[these])
    return result
