"""Operations on RGB images, each with a strength from 0 (nothing, or the least) to 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neurokd.training.warp import rotation, warped

SHEAR = 0.3
TRANSLATION = 150 / 331
"""Of the image's width or height."""
ROTATION_DEGREES = 30.0
ENHANCEMENT = 0.9
"""A factor of colour, contrast, brightness or sharpness lies this far from 1."""
POSTERIZED_BITS = 4
"""Bits of a pixel, of 8, that the strongest posterisation takes away."""


def coloured(images: Tensor, name: str, strength: Tensor, sign: Tensor) -> Tensor:
    """The operation ``name`` of `COLOUR` on each image.

    Shapes: images (B, 3, H, W) in [0, 1], strength and sign (B,) → images.
    Source: Cubuk et al. 2019 (arXiv 1805.09501), table 6.
    """
    return _COLOUR[name](images, strength.to(images), sign.to(images))


def moved(images: Tensor, name: str, strength: Tensor, sign: Tensor) -> Tensor:
    """The operation ``name`` of `GEOMETRY` on each image; shapes and source as of `coloured`."""
    height, width = images.shape[-2:]
    amount = sign * strength
    matrix = torch.eye(2).repeat(len(images), 1, 1)
    shift = torch.zeros(len(images), 2)
    if name == "rotate":
        matrix = rotation(amount * ROTATION_DEGREES)
    elif name == "shear_x":
        matrix[:, 1, 0] = amount * SHEAR
    elif name == "shear_y":
        matrix[:, 0, 1] = amount * SHEAR
    elif name == "translate_x":
        shift[:, 1] = amount * TRANSLATION * width
    else:
        shift[:, 0] = amount * TRANSLATION * height
    return warped(images, matrix, shift)


def auto_contrast(images: Tensor) -> Tensor:
    """Each channel stretched to [0, 1]; one that is constant stays as it is."""
    low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
    span = high - low
    return torch.where(span > 0, (images - low) / span.clamp(min=1e-12), images)


def equalize(images: Tensor) -> Tensor:
    """Each channel's 8-bit levels spread so that all are about equally frequent.

    Equation: level l becomes ⌊(n(< l) + ⌊q / 2⌋) / q⌋, n(< l) pixels below it, q = ⌊(pixels − those
    of the highest level) / 255⌋; q = 0 changes nothing.

    Source: ImageOps.equalize of Pillow, which gives the same levels.
    """
    levels = _levels(images).flatten(0, 1).flatten(1)  # (B C, H W)
    counts = torch.zeros(len(levels), 256, dtype=torch.long, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    highest = counts.gather(1, levels.amax(1, keepdim=True))
    step = (levels.shape[1] - highest) // 255
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    spread = (table.gather(1, levels) / 255).to(images.dtype).view_as(images)
    return torch.where((step > 0).view(*images.shape[:2], 1, 1), spread, images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Only the highest ``bits`` (B,) of a pixel's eight are kept."""
    unit = _each(2.0 ** (8 - bits))
    return torch.floor(_levels(images) / unit) * unit / 255


def _levels(images: Tensor) -> Tensor:
    return torch.round(images * 255).long()


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _factor(strength: Tensor, sign: Tensor) -> Tensor:
    return 1 + ENHANCEMENT * sign * strength


def _color(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    from kornia.enhance import adjust_saturation_with_gray_subtraction

    return adjust_saturation_with_gray_subtraction(images, _factor(strength, sign))


def _contrast(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    from kornia.enhance import adjust_contrast_with_mean_subtraction

    return adjust_contrast_with_mean_subtraction(images, _factor(strength, sign))


def _brightness(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    from kornia.enhance import adjust_brightness_accumulative

    return adjust_brightness_accumulative(images, _factor(strength, sign))


def _sharpness(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    from kornia.enhance import sharpness

    return sharpness(images, _factor(strength, sign))


def _solarize(images: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    from kornia.enhance import solarize

    return solarize(images, 1 - strength)


_COLOUR: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "auto_contrast": lambda images, strength, sign: auto_contrast(images),
    "equalize": lambda images, strength, sign: equalize(images),
    "invert": lambda images, strength, sign: 1 - images,
    "posterize": lambda images, strength, sign: posterize(
        images, 8 - torch.round(POSTERIZED_BITS * strength)
    ),
    "solarize": _solarize,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
}
COLOUR = tuple(_COLOUR)
GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
