"""Policies draw for each image; their tables are those of the papers."""

from __future__ import annotations

import pytest
import torch

from neurokd.training.learned_policy import (
    LEVELS,
    RAND_AUGMENT,
    auto_augmented,
    rand_augmented,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("policy", ["cifar10", "imagenet", "svhn"])
def test_equal_images_become_different_ones(policy: str) -> None:
    images = torch.rand(1, 3, 16, 16, generator=_generator(1)).repeat(96, 1, 1, 1)
    varied = auto_augmented(images, policy, _generator())
    assert varied.shape == images.shape
    assert 0 <= varied.min() and varied.max() <= 1
    assert len(varied.flatten(1).unique(dim=0)) > 20  # a batch has many sub-policies, not one


def test_the_tables_have_25_pairs_within_range() -> None:
    from kornia.augmentation.auto.autoaugment import autoaugment

    for policy in ("cifar10", "imagenet", "svhn"):
        table = getattr(autoaugment, f"{policy}_policy")
        assert len(table) == 25 and all(len(pair) == 2 for pair in table)
        for _, probability, level in sum(table, []):
            assert 0 <= probability <= 1 and 0 <= (level or 0) <= LEVELS
    # The first rows of the paper's tables 7 and 8.
    assert autoaugment.cifar10_policy[1] == [("rotate", 0.7, 2), ("translate_x", 0.3, 9)]
    assert autoaugment.svhn_policy[0] == [("shear_x", 0.9, 4), ("invert", 0.2, None)]


def test_randaugment_draws_its_operations_evenly() -> None:
    assert len(RAND_AUGMENT) == 14 == len(set(RAND_AUGMENT))
    images = torch.rand(1, 3, 24, 24, generator=_generator(1)).repeat(1400, 1, 1, 1)
    varied = rand_augmented(images, 1, 20, _generator())
    assert 0 <= varied.min() and varied.max() <= 1
    distinct, counts = varied.flatten(1).unique(dim=0, return_counts=True)
    # One each of identity, contrast stretching, equalisation, posterisation, solarisation, and two
    # directions of the other nine.
    assert len(distinct) == 5 + 2 * 9
    assert sorted(counts.tolist())[-5] > 70 and counts.max() < 140 and counts.min() > 25


def test_every_further_operation_changes_more_images() -> None:
    images = torch.rand(300, 3, 24, 24, generator=_generator(1))
    same = [
        int((rand_augmented(images, n, 9, _generator()) == images).flatten(1).all(1).sum())
        for n in (1, 3)
    ]
    assert 0 < same[0] < 45 and same[1] < same[0]  # a fourteenth of them is 21
