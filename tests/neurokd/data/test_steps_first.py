from __future__ import annotations

import numpy as np
import pytest

from neurokd.data.labelled import LabelledData
from neurokd.data.steps_first import BATCH, VALUES, batches, lowering_arguments, steps_first


def test_frames_have_time_in_front_and_images_have_none() -> None:
    y = np.zeros(3, dtype=np.int64)
    frames = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)  # three samples of two steps
    found = steps_first(LabelledData("events", frames, y, events=True))
    assert found.dtype == np.float32 and found.shape == (2, 3, 4)
    assert found[1, 2].tolist() == [20, 21, 22, 23]
    images = frames.astype(np.float32)
    assert steps_first(LabelledData("images", images, y)) is images


@pytest.mark.parametrize("events", [False, True])
def test_batches_are_all_samples_in_order(events: bool) -> None:
    count = 2 * BATCH + 1
    x = np.arange(count, dtype=np.float32).reshape(count, 1, 1)
    data = LabelledData("data", x, np.zeros(count, dtype=np.int64), events=events)
    found = list(batches(data))
    assert [done for done, _ in found] == [BATCH, 2 * BATCH, count]
    joined = np.concatenate([batch for _, batch in found], axis=1 if events else 0)
    np.testing.assert_array_equal(joined.ravel(), x.ravel())


def test_large_samples_come_in_smaller_batches() -> None:
    x = np.broadcast_to(np.uint8(1), (7, 2, VALUES // 4))  # half a batch each
    data = LabelledData("large", x, np.zeros(7, dtype=np.int64), events=True)
    assert [done for done, _ in batches(data)] == [2, 4, 6, 7]


def test_counts_are_sent_one_for_one() -> None:
    y = np.zeros(2, dtype=np.int64)
    counts = np.array([[[0, 3]], [[1, 0]]], dtype=np.uint8)
    events = LabelledData("events", counts, y, events=True)
    assert lowering_arguments(events, "loihi2")["input_scale"] == 1.0
    assert lowering_arguments(events, "loihi1")["input_scale"] == 1.0  # and is refused
    binary = LabelledData("events", np.minimum(counts, 1), y, events=True)
    assert "input_scale" not in lowering_arguments(binary, "loihi1")  # spikes
    images = LabelledData("images", counts[:, 0].astype(np.float32), y)
    assert "input_scale" not in lowering_arguments(images, "loihi2")
