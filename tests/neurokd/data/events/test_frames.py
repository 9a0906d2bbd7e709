from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurokd.data.events.frames import BINARY, event_frames, saturated
from neurokd.data.events.recording import Recording, read_recording
from neurokd.errors import UsageError


def recording(x: list[int], y: list[int], t: list[int], p: list[int]) -> Recording:
    columns = (np.array(values, dtype=np.int64) for values in (x, y, t, p))
    return Recording("here", (4, 6), *columns)


def test_frames_by_hand() -> None:
    # 0 … 10 µs in three steps of w = 3: [0, 3), [3, 6), and the last takes 6 … 10
    seen = recording([5, 5, 0, 1, 5], [3, 3, 0, 2, 3], [0, 2, 3, 9, 10], [1, 1, 0, 1, 0])
    frames = event_frames(seen, 3)
    assert frames.shape == (3, 2, 4, 6)
    expected = np.zeros((3, 2, 4, 6), dtype=np.int64)
    expected[0, 1, 3, 5] = 2
    expected[1, 0, 0, 0] = 1
    expected[2, 1, 2, 1] = 1
    expected[2, 0, 3, 5] = 1
    np.testing.assert_array_equal(frames, expected)


def test_by_count_every_step_has_equally_many() -> None:
    seen = recording([0] * 6, [0] * 6, [0, 1, 2, 3, 4, 1000], [0] * 6)
    by_count = event_frames(seen, 3, slicing="count").sum(axis=(1, 2, 3))
    by_time = event_frames(seen, 3).sum(axis=(1, 2, 3))
    assert by_count.tolist() == [2, 2, 2]
    assert by_time.tolist() == [5, 0, 1]


def test_a_smaller_frame_adds_up_counts() -> None:
    # 4 × 6 pixels to 2 × 4: rows y·2 // 4, columns x·4 // 6 = 0 0 1 2 2 3
    seen = recording([0, 1, 2, 3, 4, 5], [0, 1, 1, 2, 3, 3], [0] * 6, [0] * 6)
    frames = event_frames(seen, 1, (2, 4))
    assert frames[0, 0].tolist() == [[2, 1, 0, 0], [0, 0, 2, 1]]
    assert frames[0, 1].sum() == 0


@pytest.mark.parametrize("events", [0, 1])
def test_hardly_any_events(events: int) -> None:
    seen = recording([2] * events, [1] * events, [7] * events, [1] * events)
    for slicing in ("time", "count"):
        frames = event_frames(seen, 4, slicing=slicing)  # type: ignore[arg-type]
        assert frames.shape == (4, 2, 4, 6)
        assert frames.sum() == frames[0, 1, 1, 2] == events


def test_frames_that_cannot_be_made() -> None:
    seen = recording([0], [0], [0], [0])
    for steps, size in ((0, None), (1, (8, 6)), (1, (0, 6))):
        with pytest.raises(UsageError, match="cannot be made"):
            event_frames(seen, steps, size)


def test_counts_saturate_and_say_so() -> None:
    counts = np.array([0, 255, 256, 300], dtype=np.int64)
    found, lost = saturated(counts)
    assert found.dtype == np.uint8
    assert found.tolist() == [0, 255, 255, 255]
    assert lost == 1 + 45
    found, lost = saturated(counts, BINARY)
    assert (found.tolist(), lost) == ([0, 1, 1, 1], 254 + 255 + 299)


@pytest.mark.parametrize("steps", [1, 4, 10, 33])
def test_frames_are_those_of_tonic(single_recordings: Path, steps: int) -> None:
    """tonic's ToFrame drops the events after its last window; here the last step takes them."""
    from tonic.transforms import ToFrame

    seen = read_recording(single_recordings / "sample_nmnist.bin", (34, 34))
    events = np.zeros(len(seen), dtype=[(name, np.int64) for name in "xytp"])
    for name in "xytp":
        events[name] = getattr(seen, name)
    expected = ToFrame(sensor_size=(34, 34, 2), n_time_bins=steps)(events.copy())
    found = event_frames(seen, steps)
    np.testing.assert_array_equal(found[:-1], expected[:-1])
    late = events["t"] >= events["t"][0] + (events["t"][-1] - events["t"][0]) // steps * steps
    assert 0 < late.sum() <= steps  # what the division of the time leaves over, and the last event
    rest = np.zeros((2, 34, 34), dtype=np.int64)
    np.add.at(rest, (events["p"][late], events["y"][late], events["x"][late]), 1)
    np.testing.assert_array_equal(found[-1], expected[-1] + rest)
    assert found.sum() == len(seen)


def test_equal_counts_and_downsampling_are_those_of_tonic(single_recordings: Path) -> None:
    from tonic.transforms import Downsample, ToFrame

    seen = read_recording(single_recordings / "sample_nmnist.bin", (34, 34))
    events = np.zeros(len(seen), dtype=[(name, np.int64) for name in "xytp"])
    for name in "xytp":
        events[name] = getattr(seen, name)
    five = ToFrame(sensor_size=(34, 34, 2), n_event_bins=5)(events.copy())
    assert len(seen) % 5 == 0  # tonic drops what is left over
    np.testing.assert_array_equal(event_frames(seen, 5, slicing="count"), five)
    half = Downsample(sensor_size=(34, 34, 2), target_size=(17, 17))(events.copy())
    expected = ToFrame(sensor_size=(17, 17, 2), n_event_bins=5)(half)
    np.testing.assert_array_equal(event_frames(seen, 5, (17, 17), "count"), expected)
