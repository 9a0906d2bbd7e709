"""A warp moves pixels: hand-derived places, and torch's own nearest sampling."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from neurokd.training.warp import rotation, warped


def _rotated(images: torch.Tensor, *degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64)
    return warped(images, rotation(angles), torch.zeros(len(degrees), 2))


def test_a_quarter_turn_is_counter_clockwise() -> None:
    image = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    turned = _rotated(image.expand(3, 1, 3, 3), 0.0, 90.0, 180.0)
    assert turned[0, 0].tolist() == image.tolist()
    assert turned[1, 0].tolist() == [[3, 6, 9], [2, 5, 8], [1, 4, 7]]
    assert turned[2, 0].tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1]]


def test_an_even_image_turns_about_its_centre() -> None:
    image = torch.arange(48.0).view(1, 3, 4, 4)
    assert torch.equal(_rotated(image, 90.0), torch.rot90(image, 1, (2, 3)))


def test_a_shift_takes_from_that_far_away() -> None:
    image = torch.arange(1.0, 13).view(1, 1, 3, 4)
    moved = warped(image, torch.eye(2)[None], torch.tensor([[1.0, -2.0]]))
    assert moved[0, 0].tolist() == [[0, 0, 5, 6], [0, 0, 9, 10], [0, 0, 0, 0]]


def test_it_samples_as_torch_does() -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(20, 2, 15, 15, generator=generator)
    angles = torch.rand(20, generator=generator) * 90 - 45
    matrix = rotation(angles)
    # affine_grid's coordinates are (x, y), so both axes change places.
    grid_matrix = matrix.flip(1, 2)
    theta = torch.cat([grid_matrix, torch.zeros(20, 2, 1)], 2).float()
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    sampled = F.grid_sample(images, grid, mode="nearest", align_corners=False)
    agreeing = (warped(images, matrix, torch.zeros(20, 2)) == sampled).float().mean()
    assert agreeing > 0.998  # ties are rounded differently
