"""Warps: affine maps of images that move pixels and never blend them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def warped(images: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Each image seen through an affine map about its centre; zeros come in from outside.

    Equation: y(p) = x(round(A (p − c) + c + t)), p = (row, column), c the centre. The nearest pixel
    is taken, so that counts stay counts.

    Shapes: images (B, C, H, W), matrix A (B, 2, 2), shift t (B, 2) in pixels → (B, C, H, W).
    """
    height, width = images.shape[-2:]
    row = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    column = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    a, t = matrix.double()[:, :, :, None, None], shift.double()[:, :, None, None]
    rows = a[:, 0, 0] * row[:, None] + a[:, 0, 1] * column + t[:, 0] + (height - 1) / 2
    columns = a[:, 1, 0] * row[:, None] + a[:, 1, 1] * column + t[:, 1] + (width - 1) / 2
    rows, columns = torch.floor(rows + 0.5), torch.floor(columns + 0.5)  # (B, H, W)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    taken = places.long().flatten(1)[:, None].to(images.device).expand(-1, images.shape[1], -1)
    moved = images.flatten(2).gather(2, taken).view_as(images)
    return moved * inside[:, None].to(images.device)


def rotation(degrees: Tensor) -> Tensor:
    """Rotations, counter-clockwise as the image is seen. Shapes: (B,) → (B, 2, 2)."""
    angle = degrees.double() * math.pi / 180
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
