from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from neurokd.data import load_data
from neurokd.data.folder import data_folder
from neurokd.data.mnist import MNIST

if TYPE_CHECKING:
    from tests.neurokd.data.conftest import FileServer


def test_subset_is_the_head_of_the_originals(
    neurokd_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROKD_DATA", str(neurokd_data))
    for split, total, part in (("train", 60_000, 5_000), ("test", 10_000, 1_000)):
        whole, subset = load_data(f"mnist:{split}"), load_data(f"mnist-subset:{split}")
        assert len(whole) == total and len(subset) == part
        assert np.array_equal(whole.x[:part], subset.x) and np.array_equal(whole.y[:part], subset.y)


def test_subset_is_scaled_and_channel_first() -> None:
    data = load_data("mnist-subset:test")
    assert data.x.shape == (1000, 1, 28, 28) and data.x.dtype == np.float32
    assert data.x.min() == 0 and data.x.max() == 1
    assert data.y[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]  # the published order of the test set


def test_the_files_are_the_published_ones(neurokd_data: Path) -> None:
    for file, md5 in MNIST.files.items():
        content = (neurokd_data / MNIST.folder / file).read_bytes()
        assert hashlib.md5(content).hexdigest() == md5


def test_the_whole_set_is_downloaded_where_it_is_not_given(
    neurokd_data: Path, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real files, with their real hashes, from a server on loopback."""
    for file in MNIST.files:
        server.files[file] = (neurokd_data / MNIST.folder / file).read_bytes()
    monkeypatch.delenv("NEUROKD_DATA", raising=False)
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path))
    data_folder(MNIST, base_url=server.url)
    assert len(load_data("mnist:test")) == 10_000 and sum(server.requests.values()) == 4
