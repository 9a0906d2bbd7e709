from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from event_files import gesture_events, tonic_set

from neurokd.data import load_data
from neurokd.data.events.frames import event_frames
from neurokd.data.events.recording import Recording
from neurokd.errors import FileFormatError


def test_events_and_classes_are_those_of_tonic(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "DVSGesture" / "ibmGestureTest"
    for user, label in (("user24_led", 10), ("user24_led", 2), ("user25_fluorescent", 0)):
        (root / user).mkdir(parents=True, exist_ok=True)
        np.save(root / user / f"{label}.npy", gesture_events(label))
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path))
    data = load_data("dvs-gesture:test")
    assert data.x.shape == (3, 16, 2, 128, 128)
    assert data.y.tolist() == [2, 10, 0]
    tonics = tonic_set("DVSGesture", tmp_path, train=False)
    assert sorted(tonics.targets) == [0, 2, 10]
    for events, label in (tonics[index] for index in range(3)):
        columns = (events[name].astype(np.int64) for name in "xytp")
        expected = event_frames(Recording("", (128, 128), *columns), 16)
        np.testing.assert_array_equal(data.x[data.y.tolist().index(label)], expected)


def test_a_file_that_is_no_gesture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "DVSGesture" / "ibmGestureTrain" / "user01_led"
    folder.mkdir(parents=True)
    np.save(folder / "11.npy", gesture_events(0))
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path))
    with pytest.raises(FileFormatError, match=r"11\.npy: this file is no gesture's"):
        load_data("dvs-gesture:train")
