import torch

from neurokd.training.augment import random_shift


def test_each_image_moves_as_a_whole_and_zeros_move_in() -> None:
    images = torch.zeros(200, 2, 9, 7)
    images[:, 0, 4, 3], images[:, 1, 4, 3] = 1.0, 2.0
    moved = random_shift(images, 2, torch.Generator().manual_seed(0))
    first, second = moved[:, 0].nonzero(), moved[:, 1].nonzero()
    assert torch.equal(first, second) and len(first) == 200
    offsets = {(int(row) - 4, int(column) - 3) for _, row, column in first}
    assert offsets == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}
    assert moved.sum() == images.sum()


def test_no_shift_is_no_change() -> None:
    images = torch.rand(3, 1, 4, 4)
    assert torch.equal(random_shift(images, 0, torch.Generator()), images)
