from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from neurokd.data import load_data
from neurokd.data.events.frames import event_frames, saturated
from neurokd.data.events.recording import read_recording

MODULE = import_module("neurokd.data.events.cifar10_dvs")  # the package has a function of this name


def lay_out(root: Path, recordings: int) -> None:
    for name in MODULE.CLASSES:
        (root / "CIFAR10DVS" / name).mkdir(parents=True)
        for number in range(recordings):
            (root / "CIFAR10DVS" / name / f"cifar10_{name}_{number}.aedat4").touch()


def test_nine_of_ten_of_each_class_are_for_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, 20)
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path))
    train, test = MODULE.recordings("train"), MODULE.recordings("test")
    assert np.bincount(train.classes).tolist() == [18] * 10
    assert np.bincount(test.classes).tolist() == [2] * 10
    assert not set(train.files) & set(test.files)
    # in the order of names: _0, _1, _10, _11 … _19, _2 … _9
    assert [file.stem for file in test.files[::10]] == ["cifar10_airplane_8", "cifar10_airplane_9"]
    assert train.classes[:11].tolist() == [*range(10), 0]  # the classes in turn
    for file, number in zip(train.files, train.classes, strict=True):
        assert file.parent.name == MODULE.CLASSES[number]
    from tonic.datasets import CIFAR10DVS

    assert {name: number for number, name in enumerate(MODULE.CLASSES)} == CIFAR10DVS.classes


def test_frames_of_a_real_file(
    tmp_path: Path, cache: Path, single_recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, 0)
    file = single_recordings / "sample.aedat4"
    for number in range(2):
        shutil.copy(file, tmp_path / "CIFAR10DVS" / "cat" / f"cifar10_cat_{number}.aedat4")
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path))
    monkeypatch.setattr(MODULE, "SENSOR", (240, 320))  # the recording's camera
    data = load_data("cifar10-dvs:train", steps=3)
    assert data.x.shape == (2, 3, 2, 48, 48)
    assert data.y.tolist() == [3, 3]
    expected, _ = saturated(event_frames(read_recording(file, (240, 320)), 3, (48, 48)))
    np.testing.assert_array_equal(data.x[0], expected)
