from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from event_files import nmnist_bytes, tonic_set

from neurokd.data import load_data
from neurokd.data.events.frames import event_frames
from neurokd.data.events.nmnist import NMNIST
from neurokd.data.events.recording import Recording
from neurokd.data.folder import data_folder
from neurokd.data.idx import read_idx
from neurokd.errors import FileFormatError

if TYPE_CHECKING:
    from tests.neurokd.data.conftest import FileServer


@pytest.mark.parametrize(("split", "stem"), [("train", "train"), ("test", "t10k")])
def test_the_recordings_that_are_there(
    neurokd_data: Path, monkeypatch: pytest.MonkeyPatch, split: str, stem: str
) -> None:
    monkeypatch.setenv("NEUROKD_DATA", str(neurokd_data))
    data = load_data(f"nmnist:{split}", steps=4)
    assert data.events and data.steps == 4
    assert data.sample_shape == (2, 34, 34)
    assert data.x.dtype == np.uint8
    # recording i is image i of MNIST
    labels = read_idx(neurokd_data / "MNIST" / "raw" / f"{stem}-labels-idx1-ubyte.gz")
    np.testing.assert_array_equal(data.y, labels[: len(data)])


def test_events_and_classes_are_those_of_tonic(
    neurokd_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROKD_DATA", str(neurokd_data))
    data = load_data("nmnist:test", steps=4)
    tonics = tonic_set("NMNIST", neurokd_data, train=False)
    assert len(data) == len(tonics)
    order = np.argsort([int(Path(file).stem) for file in tonics.data])
    for place in (0, 37, 99):
        events, label = tonics[order[place]]
        columns = (events[name].astype(np.int64) for name in "xytp")
        expected = event_frames(Recording("", (34, 34), *columns), 4)
        np.testing.assert_array_equal(data.x[place], expected)
        assert data.y[place] == label


def test_an_own_recording(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, digit in ((10, 7), (9, 1), (100, 0)):
        folder = tmp_path / "NMNIST" / "Train" / str(digit)
        folder.mkdir(parents=True)
        events = nmnist_bytes(digit, 2, 1, 10) + nmnist_bytes(33, 33, 0, 30)
        (folder / f"{number:05d}.bin").write_bytes(events)
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path))
    data = load_data("nmnist:train", steps=2)
    assert data.y.tolist() == [1, 7, 0]  # by number, not by digit
    assert data.x[1].sum() == data.x[1, 0, 1, 2, 7] + data.x[1, 1, 0, 33, 33] == 2
    assert load_data("nmnist:train").steps == 10
    assert load_data("nmnist-binary:train", steps=1).x[1].sum() == 2
    with pytest.raises(FileFormatError, match=r"Test: there are no recordings"):
        load_data("nmnist:test")


def test_a_set_that_is_not_there_is_downloaded(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    for split, digit in (("Train", 7), ("Test", 1)):
        with io.BytesIO() as stream:
            with zipfile.ZipFile(stream, "w") as file:
                file.writestr(f"{split}/{digit}/00001.bin", nmnist_bytes(2, 1, 1, 10))
            content = stream.getvalue()
        archive = f"{split.lower()}.zip"
        server.files[NMNIST.paths[archive]] = content
        files[archive] = hashlib.md5(content).hexdigest()
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path))
    monkeypatch.delenv("NEUROKD_DATA", raising=False)
    data_folder(replace(NMNIST, files=files), base_url=server.url)
    assert load_data("nmnist:train").y.tolist() == [7]
    assert load_data("nmnist:test").y.tolist() == [1]
