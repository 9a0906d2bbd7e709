import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from neurokd.data import load_data


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes())


def test_reads_the_layout_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    images = np.arange(2 * 28 * 28, dtype=np.int64).astype(np.uint8).reshape(2, 28, 28)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(idx(images))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.array([9, 2], np.uint8)))
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path))
    data = load_data("fashion-mnist")
    assert data.name == "fashion-mnist:test" and data.y.tolist() == [9, 2]
    assert data.x.dtype == np.float32
    assert np.array_equal(data.x[:, 0], images.astype(np.float32) / np.float32(255))
