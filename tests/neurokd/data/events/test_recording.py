from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_files import nmnist_bytes

from neurokd.data.events.recording import Recording, read_recording
from neurokd.errors import BackendUnavailableError, FileFormatError


def test_nmnist_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "00001.bin"
    file.write_bytes(nmnist_bytes(3, 33, 1, 70_000) + nmnist_bytes(0, 7, 0, 300_001))
    seen = read_recording(file)
    assert seen.sensor == (34, 4)  # as large as the events need
    found = (seen.x, seen.y, seen.p, seen.t)
    assert [values.tolist() for values in found] == [[3, 0], [33, 7], [1, 0], [70_000, 300_001]]


def test_the_real_nmnist_recording(single_recordings: Path) -> None:
    seen = read_recording(single_recordings / "sample_nmnist.bin", (34, 34))
    raw = np.fromfile(single_recordings / "sample_nmnist.bin", dtype=np.uint8).astype(np.int64)
    x, y, high, middle, low = raw.reshape(-1, 5).T
    assert len(seen) == 4325
    for found, expected in (
        (seen.x, x),
        (seen.y, y),
        (seen.p, high >> 7),
        (seen.t, (high & 127) << 16 | middle << 8 | low),
    ):
        np.testing.assert_array_equal(found, expected)


def test_the_real_ncars_recording(single_recordings: Path) -> None:
    file = single_recordings / "sample_ncars.dat"
    seen = read_recording(file)
    assert len(seen) == 2009
    # eight bytes an event: time, then x in 14 bits, y in 14 bits, polarity in 4
    words = np.frombuffer(file.read_bytes()[-8 * 2009 :], dtype="<u4").reshape(-1, 2)
    time, address = words.astype(np.int64).T
    np.testing.assert_array_equal(seen.t, time)
    np.testing.assert_array_equal(seen.x, address & 0x3FFF)
    np.testing.assert_array_equal(seen.y, address >> 14 & 0x3FFF)
    np.testing.assert_array_equal(seen.p, address >> 28)


def test_the_real_evt2_recording(single_recordings: Path) -> None:
    file = single_recordings / "faery_evt2.raw"
    seen = read_recording(file, (480, 640))
    content = file.read_bytes()
    while content.startswith(b"%"):
        content = content[content.index(b"\n") + 1 :]
    words = np.frombuffer(content, dtype="<u4").astype(np.int64)
    kind = words >> 28
    events = words[kind <= 1]  # 0 off and 1 on; 8 holds the upper bits of the time
    high = np.maximum.accumulate(np.where(kind == 8, words & 0xFFFFFFF, 0))[kind <= 1]
    np.testing.assert_array_equal(seen.p, events >> 28)
    np.testing.assert_array_equal(seen.x, events >> 11 & 0x7FF)
    np.testing.assert_array_equal(seen.y, events & 0x7FF)
    np.testing.assert_array_equal(seen.t, high << 6 | events >> 22 & 0x3F)


def test_the_real_aedat4_recording(single_recordings: Path) -> None:
    seen = read_recording(single_recordings / "sample.aedat4", (240, 320))
    assert len(seen) == 111_954
    assert (seen.x[0], seen.y[0], seen.p[0]) == (154, 204, 0)
    assert (np.diff(seen.t) >= 0).all()


def test_a_table_of_gesture_events(tmp_path: Path) -> None:
    np.save(tmp_path / "3.npy", np.array([[5, 6, 1, 2], [7, 8, 0, 40]]))
    seen = read_recording(tmp_path / "3.npy", (128, 128))
    assert seen.t.tolist() == [2000, 40_000]
    assert (seen.x.tolist(), seen.y.tolist(), seen.p.tolist()) == ([5, 7], [6, 8], [1, 0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.bin", b"1234", "truncated"),
        ("a.raw", b"hello" * 100, "no recording of Prophesee"),
        ("a.dat", b"hello" * 100, "no recording of Prophesee"),
        ("a.npy", b"hello" * 100, "cannot be read"),
        ("a.mat", b"hello" * 100, "file of this kind"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    file = tmp_path / name
    with pytest.raises(FileFormatError, match="no such file|file of this kind"):
        read_recording(file)
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_recording(file)


def test_a_broken_aedat4_file(tmp_path: Path, single_recordings: Path) -> None:
    for content in (b"hello", (single_recordings / "sample.aedat4").read_bytes()[:5000]):
        (tmp_path / "a.aedat4").write_bytes(content)
        with pytest.raises(FileFormatError, match="cannot be read"):
            read_recording(tmp_path / "a.aedat4")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_recording(tmp_path / "0.npy")
    np.save(tmp_path / "1.npy", np.zeros((4, 3)))
    with pytest.raises(FileFormatError, match="not a table of events"):
        read_recording(tmp_path / "1.npy")


def test_events_outside_the_sensor() -> None:
    columns = {name: np.array([value]) for name, value in (("x", 34), ("y", 0), ("t", 0), ("p", 0))}
    with pytest.raises(FileFormatError, match=r"impossible x \(expected 0 … 33, found 34"):
        Recording("here", (34, 34), **columns)


def test_without_tonic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.bin").write_bytes(nmnist_bytes(0, 0, 0, 0))
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("tonic"):
            raise ModuleNotFoundError("No module named 'tonic'", name="tonic")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BackendUnavailableError, match=r"no tonic.*neurokd\[events\]"):
        read_recording(tmp_path / "a.bin")
