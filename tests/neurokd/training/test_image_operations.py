"""Operations on images against Pillow's, which AutoAugment's policies were learnt with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from neurokd.training.image_operations import COLOUR, GEOMETRY, coloured, equalize, moved

PILLOW: dict[str, Callable[[Image.Image, float, float], Image.Image]] = {
    "auto_contrast": lambda image, f, s: ImageOps.autocontrast(image),
    "equalize": lambda image, f, s: ImageOps.equalize(image),
    "invert": lambda image, f, s: ImageOps.invert(image),
    "posterize": lambda image, f, s: ImageOps.posterize(image, 8 - round(4 * f)),
    "solarize": lambda image, f, s: ImageOps.solarize(image, 255 * (1 - f)),
    "color": lambda image, f, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s * f),
    "contrast": lambda image, f, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s * f),
    "brightness": lambda image, f, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s * f),
    "sharpness": lambda image, f, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s * f),
}
LEVELS_OFF = {"auto_contrast": 1, "color": 2, "contrast": 2, "brightness": 1, "sharpness": 2}
"""Pillow rounds on the way: grey levels, means and stretched values; the others are exact."""


def _images(count: int) -> np.ndarray:  # type: ignore[type-arg]
    """Smooth images of 24×20 with noise, whose levels are far from uniform."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 200, (count, 4, 5, 3)).repeat(6, 1).repeat(4, 2)
    return (coarse + rng.integers(-25, 26, coarse.shape)).astype(np.uint8)


def _tensor(images: np.ndarray) -> Tensor:  # type: ignore[type-arg]
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("name", COLOUR)
def test_colours_change_as_pillow_changes_them(name: str) -> None:
    images = _images(24)
    strength = torch.linspace(0.05, 0.98, 24)
    sign = torch.tensor([1.0, -1.0]).repeat(12)
    changed = coloured(_tensor(images), name, strength, sign)
    assert changed.shape == (24, 3, 24, 20) and 0 <= changed.min() and changed.max() <= 1
    for k, image in enumerate(images):
        expected = PILLOW[name](Image.fromarray(image), float(strength[k]), float(sign[k]))
        difference = changed[k].permute(1, 2, 0) * 255 - torch.from_numpy(np.array(expected))
        assert difference.abs().max() <= LEVELS_OFF.get(name, 0) + 0.01, (name, k)


@pytest.mark.parametrize("name", ["posterize", "color", "contrast", "brightness", "sharpness"])
def test_no_strength_is_no_change(name: str) -> None:
    images = _tensor(_images(3))
    changed = coloured(images, name, torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(changed, images, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", GEOMETRY)
def test_nothing_moves_without_strength_and_signs_are_opposite(name: str) -> None:
    images = torch.rand(2, 3, 21, 21)
    assert torch.equal(moved(images, name, torch.zeros(2), torch.ones(2)), images)
    there = moved(images, name, torch.full((2,), 0.7), torch.ones(2))
    back = moved(images, name, torch.full((2,), 0.7), -torch.ones(2))
    assert not torch.equal(there, back)
    assert torch.equal(there[:, :, 10, 10], images[:, :, 10, 10]) != name.startswith("translate")


def test_the_largest_movements_are_those_of_the_paper() -> None:
    """Rotation 30°, shear 0.3 of the distance to the centre, translation 150 / 331 of the side."""
    image = torch.zeros(1, 3, 31, 31)
    image[:, :, 15, 15] = 1.0
    one = torch.ones(1)
    assert moved(image, "translate_x", one, one)[0, 0].nonzero().tolist() == [[15, 1]]
    assert moved(image, "translate_y", one, -one)[0, 0].nonzero().tolist() == [[29, 15]]
    line = torch.zeros(1, 3, 31, 31)
    line[:, :, :, 15] = 1.0
    sheared = moved(line, "shear_x", one, one)[0, 0]
    assert sheared[15].argmax() == 15 and sheared[25].argmax() == 12 and sheared[5].argmax() == 18


def test_a_flat_channel_is_left_alone() -> None:
    flat = torch.full((2, 3, 8, 8), 0.4)
    assert torch.equal(equalize(flat), flat)
    assert torch.equal(coloured(flat, "auto_contrast", torch.ones(2), torch.ones(2)), flat)
