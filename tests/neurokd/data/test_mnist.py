from pathlib import Path

import numpy as np
import pytest

from neurokd.data import load_data
from neurokd.errors import UsageError


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


def test_the_whole_set_needs_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEUROKD_DATA", raising=False)
    with pytest.raises(UsageError, match="NEUROKD_DATA"):
        load_data("mnist")
