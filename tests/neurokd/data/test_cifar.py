import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.data import load_data
from neurokd.data.cifar import read_cifar
from neurokd.errors import FileFormatError

PIXELS = np.arange(3 * 3072, dtype=np.int64).astype(np.uint8).reshape(3, 3072)


def batch(path: Path, **changes: Any) -> Path:
    entries = {"data": PIXELS, "fine_labels": [0, 99, 5], "coarse_labels": [1, 1, 1], **changes}
    path.write_bytes(pickle.dumps({k: v for k, v in entries.items() if v is not None}, 2))
    return path


def test_batches_follow_each_other_channel_first(tmp_path: Path) -> None:
    first = batch(tmp_path / "1")
    second = batch(tmp_path / "2", data=PIXELS[::-1].copy(), fine_labels=[7, 8, 9])
    data = read_cifar("two", {first: 3, second: 3}, "fine_labels", classes=100)
    assert data.x.shape == (6, 3, 32, 32) and data.x.dtype == np.float32
    assert data.y.tolist() == [0, 99, 5, 7, 8, 9]
    # The fourth image is the third of the first file; green starts at byte 1024, its rows have 32.
    assert data.x[3, 1, 2, 5] == np.float32(PIXELS[2, 1024 + 2 * 32 + 5]) / np.float32(255)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, r"images .*no such array"),
        ({"data": PIXELS[:2]}, r"images .*\(3, 3072\).*\(2, 3072\)"),
        ({"data": PIXELS[:, :1024].copy()}, r"images .*\(3, 1024\)"),
        ({"data": PIXELS.astype(np.float32)}, "not a batch of CIFAR"),
        ({"fine_labels": None}, r"classes .*no such list"),
        ({"fine_labels": [1, 2]}, r"classes .*2 entries"),
        ({"fine_labels": [1, 2, 2.5]}, "classes"),
        ({"fine_labels": [1, 2, True]}, "classes"),
        ({"fine_labels": [1, 2, 100]}, r"out of range .*0 to 99.*1 to 100"),
        ({"fine_labels": [1, 2, -1]}, "out of range"),
    ],
)
def test_a_wrong_batch_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = batch(tmp_path / "train", **changes)
    with pytest.raises(FileFormatError, match=message):
        read_cifar("bad", {path: 3}, "fine_labels", classes=100)


def test_a_cut_batch_is_refused(tmp_path: Path) -> None:
    path = batch(tmp_path / "train")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError, match="not a batch of CIFAR"):
        read_cifar("cut", {path: 3}, "fine_labels", classes=100)


def test_a_missing_batch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path))
    with pytest.raises(FileFormatError, match=r"data_batch_1: a file of the data set is missing"):
        load_data("cifar10:train")


def test_cifar10_is_the_published_set(neurokd_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROKD_DATA", str(neurokd_data))
    train, test = load_data("cifar10:train"), load_data("cifar10:test")
    assert train.x.shape == (50_000, 3, 32, 32) and test.x.shape == (10_000, 3, 32, 32)
    assert np.bincount(train.y).tolist() == [5000] * 10
    assert np.bincount(test.y).tolist() == [1000] * 10
    assert train.y[:5].tolist() == [6, 9, 9, 4, 1] and test.y[:5].tolist() == [3, 8, 8, 0, 6]
    # Per channel over the training set, as published with every CIFAR-10 recipe, to four digits.
    parts = np.split(train.x, 10)  # so that the squares take a tenth of the memory
    mean, square = (
        np.mean([part.mean(axis=(0, 2, 3), dtype=np.float64) for part in each], axis=0)
        for each in (parts, map(np.square, parts))
    )
    deviation = np.sqrt(square - mean**2)
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert deviation == pytest.approx([0.2470, 0.2435, 0.2616], abs=1e-4)
