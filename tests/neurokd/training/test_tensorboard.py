"""Curves are read back with TensorBoard's own reader."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from neurokd.errors import BackendUnavailableError
from neurokd.training.tensorboard import FOLDER, Curves


def _read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / FOLDER))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def _row(epoch: int, loss: float) -> dict[str, object]:
    return {"epoch": epoch, "split": "train", "loss": loss}


def test_numbers_of_rows_become_points(tmp_path: Path) -> None:
    with Curves(tmp_path) as curves:
        curves.write({**_row(1, 0.5), "accuracy": 0.25, "rates": {"body.2": 0.125}, "note": "x"})
        curves.write({"epoch": 1, "split": "validation", "accuracy": 0.75})
        curves.write(_row(2, 0.25))
    assert _read(tmp_path) == {
        "train/loss": [(1, 0.5), (2, 0.25)],
        "train/accuracy": [(1, 0.25)],
        "train/rates/body.2": [(1, 0.125)],
        "validation/accuracy": [(1, 0.75)],
    }


def test_a_resumed_run_has_each_epoch_once(tmp_path: Path) -> None:
    with Curves(tmp_path) as curves:
        for epoch in (1, 2, 3):
            curves.write(_row(epoch, 8.0))
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_bytes(file.read_bytes()[:-5])  # killed while it wrote epoch 3
    with Curves(tmp_path, epoch=1) as curves:
        curves.write(_row(2, 4.0))
        curves.write(_row(3, 2.0))
    assert _read(tmp_path) == {"train/loss": [(1, 8.0), (2, 4.0), (3, 2.0)]}


def test_a_point_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    test = {"epoch": 2, "split": "test", "accuracy": 0.5}
    with Curves(tmp_path) as curves:
        curves.write(_row(1, 8.0))
        curves.write(_row(2, 4.0))
    for _ in range(2):  # interrupted after the last epoch, and finished
        with Curves(tmp_path, epoch=2) as curves:
            curves.write(test)
    assert _read(tmp_path) == {"train/loss": [(1, 8.0), (2, 4.0)], "test/accuracy": [(2, 0.5)]}


def test_a_resumed_run_without_curves_begins_where_it_is(tmp_path: Path) -> None:
    with Curves(tmp_path, epoch=3) as curves:
        curves.write(_row(4, 0.5))
    assert _read(tmp_path) == {"train/loss": [(4, 0.5)]}


def test_what_was_written_is_there_before_the_end(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    curves.write(_row(1, 0.5))
    assert _read(tmp_path) == {"train/loss": [(1, 0.5)]}
    curves.close()


def test_a_new_run_begins_anew(tmp_path: Path) -> None:
    for loss in (8.0, 4.0):
        with Curves(tmp_path) as curves:
            curves.write(_row(1, loss))
    assert _read(tmp_path) == {"train/loss": [(1, 4.0)]}


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'neurokd\[tensorboard\]'"):
        Curves(tmp_path)
    assert not (tmp_path / FOLDER).exists()
