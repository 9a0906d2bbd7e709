from pathlib import Path

import numpy as np
import pytest

from neurokd.data.load import DATA_SETS, PUBLISHED_SETS, load_data, require_alike
from neurokd.errors import FileFormatError, NeurokdError, UsageError


def test_a_split_in_the_name_goes_before_the_one_meant() -> None:
    assert load_data("mnist-subset:train", "test").name == "mnist-subset:train"
    assert load_data("mnist-subset", "train").name == "mnist-subset:train"


@pytest.mark.parametrize("name", ["mnst", "mnist-subset:valid", "mnist-subset:", ""])
def test_an_unknown_name_or_split_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="unknown"):
        load_data(name, "")


def test_images_ignore_the_number_of_frames() -> None:
    assert load_data("mnist-subset", steps=3).steps is None
    with pytest.raises(UsageError, match="steps must be positive"):
        load_data("mnist-subset", steps=0)


def test_every_published_set_is_offered_and_its_hashes_are_md5() -> None:
    assert set(PUBLISHED_SETS) <= set(DATA_SETS)
    for published in PUBLISHED_SETS.values():
        for md5 in published.files.values():
            assert len(bytes.fromhex(md5)) == 16


def test_a_folder_has_a_file_for_each_split(tmp_path: Path) -> None:
    for split, value in (("train", 0.25), ("test", 0.75)):
        np.savez(tmp_path / f"{split}.npz", x=np.full((2, 3), value), y=[0, 1])
    assert load_data(str(tmp_path)).x[0, 0] == 0.75
    assert load_data(str(tmp_path), "train").x[0, 0] == 0.25
    assert load_data(f"{tmp_path}:train").x[0, 0] == 0.25
    (tmp_path / "test.npz").unlink()
    with pytest.raises(FileFormatError, match="test.npz: no such file"):
        load_data(str(tmp_path))


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"x": np.zeros((2, 4)), "y": [0, 1]}, r"another kind.*samples of \(3,\).*\(4,\)"),
        ({"x": np.zeros((2, 5, 3)), "y": [0, 1], "events": True}, r"event frames of \(5, 3\)"),
        ({"x": np.zeros((2, 3)), "y": [0, 2]}, "more classes.*at most 2.*found 3"),
        ({"x": np.full((2, 3), np.nan), "y": [0, 1]}, "finite numbers"),
        (None, "test.npz: no such file"),
    ],
)
def test_test_samples_that_do_not_fit_are_refused_with_the_training_samples(
    tmp_path: Path, test: dict[str, object] | None, message: str
) -> None:
    np.savez(tmp_path / "train.npz", x=np.zeros((4, 3)), y=[0, 1, 0, 1])
    train = load_data(str(tmp_path), "train")
    if test is not None:
        np.savez(tmp_path / "test.npz", **test)  # type: ignore[arg-type]
    with pytest.raises(NeurokdError, match=message):
        require_alike(str(tmp_path), train, 2)


def test_test_samples_that_fit_are_taken_and_data_sets_by_name_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, samples in (("train", 4), ("test", 2)):
        np.savez(tmp_path / f"{split}.npz", x=np.zeros((samples, 3)), y=np.arange(samples) % 2)
    require_alike(str(tmp_path), load_data(str(tmp_path), "train"), 2)
    train = load_data("mnist-subset", "train")
    monkeypatch.setitem(DATA_SETS, "mnist-subset", lambda split, steps: 1 / 0)
    require_alike("mnist-subset", train, 10)
