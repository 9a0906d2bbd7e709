from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.data import load_data
from neurokd.errors import NeurokdError


def test_reads_what_numpy_wrote(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.ones((3, 1, 2, 2)), y=np.array([0, 1, 2], dtype=np.uint8))
    data = load_data(str(path))
    assert data.x.dtype == np.float32 and data.y.tolist() == [0, 1, 2]
    assert data.sample_shape == (1, 2, 2) and len(data.first(2)) == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_reads_event_frames(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.ones((3, 5, 2, 4, 4), dtype), y=np.array([0, 1, 2]), events=True)
    data = load_data(str(path))
    assert data.events and data.steps == 5 and data.sample_shape == (2, 4, 4)
    assert data.x.dtype == (np.uint8 if dtype is np.uint8 else np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 2))}, "missing"),
        ({"x": np.ones((3, 2)), "y": np.zeros(2, int)}, "do not fit"),
        ({"x": np.ones((3, 2)), "y": np.array([0.5, 1, 2])}, "classes"),
        ({"x": np.ones((3, 2)), "y": np.array([0, -1, 2])}, "classes"),
        ({"x": np.full((3, 2), np.nan), "y": np.zeros(3, int)}, "finite"),
        ({"x": np.array([{}, {}, {}]), "y": np.zeros(3, int)}, "complete .npz"),
        ({"x": np.ones((0, 2)), "y": np.zeros(0, int)}, "empty"),
        ({"x": np.ones((3, 2)), "y": np.zeros(3, int), "events": [1, 0]}, "True or False"),
        ({"x": np.ones((3, 2)), "y": np.zeros(3, int), "events": True}, "do not fit"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    with pytest.raises(NeurokdError, match=message):
        load_data(str(path))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04cut"])
def test_a_foreign_or_cut_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(NeurokdError, match="complete .npz"):
        load_data(str(path))


@pytest.mark.parametrize("name", ["mnst", "mnist-subset:valid", "nowhere.npz"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(NeurokdError):
        load_data(name)
