"""Variations keep what they must keep, and are drawn from the given generator alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from neurokd.config import AugmentConfig, read_config
from neurokd.errors import UsageError
from neurokd.run import RunFolder
from neurokd.training import train
from neurokd.training.augment import (
    augmented,
    check_augment,
    dropped_events,
    random_erasing,
    random_flip,
    random_rotation,
    random_shift,
)

IMAGES = AugmentConfig(max_shift=4, flip=True, autoaugment="cifar10", erasing=0.5)
EVENTS = AugmentConfig(max_shift=3, flip=True, erasing=0.5, rotation_degrees=20, drop_events=0.3)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _counts(batch: int = 12, steps: int = 3, size: int = 16) -> torch.Tensor:
    return torch.poisson(torch.full((batch, steps, 2, size, size), 0.8), generator=_generator(9))


def test_each_image_moves_as_a_whole_and_zeros_move_in() -> None:
    images = torch.zeros(200, 2, 9, 7)
    images[:, 0, 4, 3], images[:, 1, 4, 3] = 1.0, 2.0
    moved = random_shift(images, 2, _generator())
    first, second = moved[:, 0].nonzero(), moved[:, 1].nonzero()
    assert torch.equal(first, second) and len(first) == 200
    offsets = {(int(row) - 4, int(column) - 3) for _, row, column in first}
    assert offsets == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}
    assert moved.sum() == images.sum()


def test_no_shift_is_no_change() -> None:
    images = torch.rand(3, 1, 4, 4)
    assert torch.equal(random_shift(images, 0, torch.Generator()), images)


def test_half_of_the_images_are_flipped_and_flipping_twice_is_nothing() -> None:
    images = torch.rand(400, 1, 2, 3)
    flipped = random_flip(images, _generator())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert (mirrored | (flipped == images).flatten(1).all(1)).all()
    assert 160 < mirrored.sum() < 240  # four standard deviations of a fair coin
    assert torch.equal(random_flip(flipped, _generator()), images)


def test_a_rotation_moves_counts_and_invents_none() -> None:
    counts = _counts().flatten(1, 2)
    assert torch.equal(random_rotation(counts, 0.0, _generator()), counts)
    turned = random_rotation(counts, 30.0, _generator())
    assert not torch.equal(turned, counts)
    assert set(turned.unique().tolist()) <= set(counts.unique().tolist())


def test_erased_boxes_are_as_large_and_as_frequent_as_asked() -> None:
    images = torch.ones(4000, 2, 32, 32)
    erased = random_erasing(images, 0.5, _generator()) == 0
    assert torch.equal(erased[:, 0], erased[:, 1])
    area = erased[:, 0].flatten(1).sum(1)
    hit = area > 0
    assert 0.46 < hit.float().mean() < 0.54
    # One box each: as many pixels as rows times columns that have any.
    assert torch.equal(area, erased[:, 0].any(2).sum(1) * erased[:, 0].any(1).sum(1))
    share = area[hit] / 1024
    assert share.mean() == pytest.approx(0.11, abs=0.005)
    assert 0.01 < share.min() and share.max() < 0.22  # sides are rounded
    # The place is uniform: what a box covers is as often left as right, above as below.
    cover = erased[:, 0].float().mean(0)
    assert cover[:, :16].mean() == pytest.approx(float(cover[:, 16:].mean()), abs=0.006)
    assert cover[:16].mean() == pytest.approx(float(cover[16:].mean()), abs=0.006)
    assert torch.equal(random_erasing(images[:9], 0.0, _generator()), images[:9])


def test_a_box_ends_where_a_narrow_image_does() -> None:
    erased = random_erasing(torch.ones(200, 1, 3, 40), 1.0, _generator())
    assert (erased == 0).flatten(1).any(1).all()


def test_dropping_events_thins_counts_binomially() -> None:
    counts = torch.full((300, 1000), 5.0)
    kept = dropped_events(counts, 0.4, _generator())
    assert bool((kept == kept.round()).all() and (kept >= 0).all() and (kept <= 5).all())
    share = kept.mean(1) / 5  # 1 − f of each recording, f uniform in [0, 0.4)
    assert share.mean() == pytest.approx(0.8, abs=0.03)
    assert 0.59 < share.min() < 0.63 and 0.97 < share.max() <= 1.0
    # Given f, the variance of a count is 5 f (1 − f).
    expected = 5 * share * (1 - share)
    torch.testing.assert_close(kept.var(1), expected, atol=0.17, rtol=0.0)


def test_only_counts_can_be_thinned() -> None:
    with pytest.raises(UsageError, match=r"augment\.drop_events.*counts.*whole numbers"):
        dropped_events(torch.full((2, 3), 0.5), 0.1, _generator())


def test_all_steps_of_a_recording_vary_alike() -> None:
    config = EVENTS.model_copy(update={"drop_events": 0.0})
    frames = _counts(steps=1).expand(-1, 4, -1, -1, -1)
    varied = augmented(frames, config, _generator())
    assert varied.shape == frames.shape
    assert torch.equal(varied, varied[:, :1].expand_as(varied))
    assert not torch.equal(varied, frames)


@pytest.mark.parametrize(
    ("config", "batch"),
    [
        (IMAGES, torch.rand(16, 3, 32, 32)),
        (AugmentConfig(max_shift=0, randaugment=(2, 10)), torch.rand(16, 3, 20, 24)),
        (EVENTS, _counts()),
    ],
)
def test_the_generator_is_all_that_is_drawn_from(
    config: AugmentConfig, batch: torch.Tensor
) -> None:
    before, generator = torch.get_rng_state(), _generator()
    first = augmented(batch, config, generator)
    saved = generator.get_state()
    second = augmented(batch, config, generator)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, second)
    assert torch.equal(augmented(batch, config, _generator()), first)
    generator.set_state(saved)
    assert torch.equal(augmented(batch, config, generator), second)
    assert first.shape == batch.shape and first.is_contiguous()


def test_nothing_on_is_nothing_drawn() -> None:
    generator = _generator()
    batch = torch.rand(4, 7)
    assert augmented(batch, AugmentConfig(max_shift=0), generator) is not None
    assert torch.equal(augmented(batch, AugmentConfig(max_shift=0), generator), batch)
    assert torch.equal(generator.get_state(), _generator().get_state())


@pytest.mark.parametrize(
    ("options", "shape", "events"),
    [
        ({"autoaugment": "svhn", "erasing": 0.5, "flip": True}, (3, 32, 32), False),
        ({"randaugment": (14, 30)}, (3, 32, 32), False),
        ({"rotation_degrees": 10, "drop_events": 0.2}, (2, 34, 34), True),
        ({"max_shift": 0}, (784,), False),
        ({"max_shift": 0, "drop_events": 0.2}, (700,), True),
    ],
)
def test_what_fits_is_let_through(
    options: dict[str, Any], shape: tuple[int, ...], events: bool
) -> None:
    check_augment(AugmentConfig(**options), shape, events)


@pytest.mark.parametrize(
    ("options", "shape", "events", "message"),
    [
        ({"autoaugment": "svhn"}, (1, 28, 28), False, r"autoaugment: .*RGB.*found images \(1, 28"),
        ({"autoaugment": "svhn"}, (3, 32, 32), True, "autoaugment: .*RGB.*found event frames"),
        ({"randaugment": (1, 9)}, (2, 34, 34), True, "randaugment: .*RGB"),
        ({"randaugment": (0, 9)}, (3, 32, 32), False, r"no such RandAugment.*found \[0, 9\]"),
        ({"randaugment": (1, 31)}, (3, 32, 32), False, "no such RandAugment"),
        ({"randaugment": (1, 9), "autoaugment": "svhn"}, (3, 32, 32), False, "one of the two"),
        ({"rotation_degrees": 5}, (3, 32, 32), False, "rotation_degrees: this is for event"),
        ({"drop_events": 0.1}, (1, 28, 28), False, "drop_events: this is for event frames"),
        ({}, (784,), False, r"max_shift: .*no rows.*set augment\.max_shift = 0"),
        ({"max_shift": 0, "erasing": 0.1}, (784,), False, r"remove augment\.erasing"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_run(
    options: dict[str, Any], shape: tuple[int, ...], events: bool, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_augment(AugmentConfig(**options), shape, events)


def test_a_run_that_cannot_vary_its_data_never_begins(tiny: list[str], tmp_path: Path) -> None:
    config = read_config("mnist-student-alone", [*tiny, "augment.autoaugment='cifar10'"])
    with pytest.raises(UsageError, match=r"augment\.autoaugment: .*RGB"):
        train(config, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
