from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurokd.data import LabelledData
from neurokd.errors import ShapeMismatchError, UsageError


def numbered(sizes: list[int], events: bool = False) -> LabelledData:
    """Classes of the given sizes, shuffled; each sample's value is its place."""
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = np.arange(len(y), dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    return LabelledData("numbered", x, y.astype(np.int64), events)


def places(data: LabelledData) -> list[int]:
    return [int(place) for place in data.x[:, 0, 0]]


def test_shape_steps_and_classes() -> None:
    images, frames = numbered([3, 0, 2]), numbered([3, 0, 2], events=True)
    assert (images.sample_shape, images.steps, images.classes) == ((2, 3), None, 3)
    assert (frames.sample_shape, frames.steps, frames.classes) == ((3,), 2, 3)
    assert frames.first(2).events and len(frames.first(2)) == 2


@pytest.mark.parametrize(("shape", "events"), [((5,), False), ((5, 2), True), ((4, 2, 3), False)])
def test_arrays_that_do_not_fit_are_refused(shape: tuple[int, ...], events: bool) -> None:
    with pytest.raises(ShapeMismatchError, match="do not fit"):
        LabelledData("bad", np.zeros(shape, np.float32), np.zeros(5, np.int64), events)


@pytest.mark.parametrize("indices", [[3, 1], np.array([3, 1]), torch.tensor([3, 1])])
def test_a_batch_is_float_tensors_in_the_order_asked_for(indices: Any) -> None:
    x, y = (data := numbered([3, 2])).batch(indices)
    assert x.dtype == torch.float32 and y.dtype == torch.int64 and x.shape == (2, 2, 3)
    assert x[:, 0, 0].tolist() == [3, 1] and y.tolist() == data.y[[3, 1]].tolist()


def test_a_batch_of_a_memory_map_is_a_copy_in_float(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(24, dtype=np.uint8).reshape(4, 3, 2))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = LabelledData("mapped", mapped, np.zeros(4, np.int64), events=True)
    x, _ = data.batch([2])
    x += 1  # a read-only map would not survive this
    assert x.flatten().tolist() == [13, 14, 15, 16, 17, 18] and mapped[2, 0, 0] == 12


def test_split_holds_out_the_stated_share_of_each_class() -> None:
    # ⌊0.25·n + ½⌋ of 10, 7, 2 (and at least 1) are 3, 2, 1; class 2 has no samples.
    data = numbered([10, 7, 0, 2])
    rest, held_out = data.split(0.25, seed=5)
    assert np.bincount(held_out.y).tolist() == [3, 2, 0, 1]
    assert np.bincount(rest.y).tolist() == [7, 5, 0, 1]
    assert sorted(places(rest) + places(held_out)) == list(range(19))
    assert places(rest) == sorted(places(rest)) and places(held_out) == sorted(places(held_out))
    assert np.array_equal(rest.y, data.y[places(rest)])


def test_split_depends_on_the_seed_alone() -> None:
    data = numbered([50, 50])
    np.random.seed(1)  # the global source plays no part
    first = places(data.split(0.2, seed=5)[1])
    np.random.seed(2)
    assert first == places(data.split(0.2, seed=5)[1])
    assert first != places(data.split(0.2, seed=6)[1])


def test_split_keeps_frames_frames() -> None:
    rest, held_out = numbered([4, 4], events=True).split(0.5, seed=0)
    assert rest.events and held_out.events and (len(rest), len(held_out)) == (4, 4)


def test_every_beginning_of_mixed_data_holds_each_class_in_proportion() -> None:
    data = numbered([40, 20, 0, 10])
    mixed = data.mixed()
    assert sorted(places(mixed)) == list(range(70)) and np.array_equal(
        mixed.y, data.y[places(mixed)]
    )
    for end in range(1, 71):
        counts = np.bincount(mixed.y[:end], minlength=4)
        assert np.abs(counts - end * np.array([40, 20, 0, 10]) / 70).max() <= 1
    for label in (0, 1, 3):
        own = [place for place, y in zip(places(mixed), mixed.y, strict=True) if y == label]
        assert own == sorted(own)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="out of range"):
        numbered([4, 4]).split(fraction, seed=0)


@pytest.mark.parametrize(("sizes", "fraction"), [([4, 1], 0.5), ([4, 3], 0.9)])
def test_a_class_too_small_to_split_is_refused(sizes: list[int], fraction: float) -> None:
    with pytest.raises(UsageError, match=r"class \d has too few samples"):
        numbered(sizes).split(fraction, seed=0)
