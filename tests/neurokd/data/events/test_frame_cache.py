from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from event_files import nmnist_bytes

from neurokd.data.events.folder import event_folder
from neurokd.data.events.frame_cache import cached
from neurokd.errors import FileFormatError, UsageError


def own_recordings(root: Path) -> Path:
    for name, x in (("left", 1), ("right", 30)):
        (root / name).mkdir(parents=True)
        for number in range(2):
            events = b"".join(nmnist_bytes(x, number, 1, t) for t in (0, 5, 9))
            (root / name / f"{number}.bin").write_bytes(events)
    return root


def test_the_second_time_nothing_is_read(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = own_recordings(tmp_path / "own")
    first = event_folder(root, (34, 34), steps=2)
    assert "frames of 4 recordings" in capsys.readouterr().err
    assert first.y.tolist() == [0, 1, 0, 1]
    assert first.x[:, :, 1].sum(axis=(2, 3)).tolist() == [[1, 2]] * 4
    assert isinstance(first.x, np.memmap) and not first.x.flags.writeable
    kept = list(cache.glob("*.npy"))
    second = event_folder(root, (34, 34), steps=2)
    np.testing.assert_array_equal(first.x, second.x)
    assert capsys.readouterr().err == ""
    assert list(cache.glob("*.npy")) == kept


def test_other_files_or_options_give_other_frames(tmp_path: Path, cache: Path) -> None:
    root = own_recordings(tmp_path / "own")
    event_folder(root, (34, 34), steps=2)
    event_folder(root, (34, 34), steps=3)
    event_folder(root, (34, 34), steps=2, size=(17, 17))
    event_folder(root, (34, 34), steps=2, slicing="count")
    event_folder(root, (34, 34), steps=2, largest=1)
    assert len(list(cache.glob("*.npy"))) == 5
    file = root / "left" / "0.bin"
    file.write_bytes(file.read_bytes() + nmnist_bytes(1, 0, 1, 9))
    assert event_folder(root, (34, 34), steps=2).x[0].sum() == 4
    assert len(list(cache.glob("*.npy"))) == 6


def test_a_broken_recording_leaves_nothing_behind(tmp_path: Path, cache: Path) -> None:
    root = own_recordings(tmp_path / "own")
    (root / "right" / "1.bin").write_bytes(b"1234")
    with pytest.raises(FileFormatError, match=r"1\.bin: the recording is truncated"):
        event_folder(root, (34, 34), steps=2)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_killed_process_leaves_no_half_array(tmp_path: Path, cache: Path) -> None:
    program = """
import os
from neurokd.data.events.frame_cache import cached
def fill(index, frames):
    frames[:] = 1
    if index == 2:
        os.kill(os.getpid(), 9)
    return 0
cached("set", (4, 1, 2, 3, 3), fill)
"""
    environment = {**os.environ, "NEUROKD_CACHE": str(cache.parent)}
    killed = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert killed.returncode == -9
    assert (cache / "set.partial").exists() and not (cache / "set.npy").exists()

    def fill(index: int, frames: np.ndarray) -> int:
        frames[:] = index
        return 0

    made = cached("set", (4, 1, 2, 3, 3), fill)
    assert made[:, 0, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert not (cache / "set.partial").exists()


def test_events_that_do_not_fit_are_told(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached("bright", (3, 1, 2, 3, 3), lambda index, frames: 7 * index)
    assert "21 events left out" in capsys.readouterr().err


def test_more_frames_than_the_disk_holds(cache: Path) -> None:
    with pytest.raises(UsageError, match="no room for the frames"):
        cached("huge", (1 << 40, 1, 2, 1024, 1024), lambda index, frames: 0)


def test_folders_without_recordings(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "own" / "left").mkdir(parents=True)
    for folder in (tmp_path / "own", tmp_path / "nothing"):
        with pytest.raises(FileFormatError, match="there are no recordings"):
            event_folder(folder, (34, 34))
    root = own_recordings(tmp_path / "other")
    with pytest.raises(UsageError, match="such frames cannot be made"):
        event_folder(root, (34, 34), steps=-1)
