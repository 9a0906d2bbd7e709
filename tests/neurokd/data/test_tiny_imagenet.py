"""Tiny-ImageNet in folders of the published layout, a few small images large."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neurokd.data import load_data
from neurokd.data.tiny_imagenet import TINY_IMAGENET, read_tiny_imagenet
from neurokd.errors import FileFormatError

NAMES = ("n02", "n01")
"""Not in alphabetical order: wnids.txt decides."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, eleven training images each of one grey, three test images."""
    root = tmp_path / "data" / "tiny-imagenet-200"
    for label, name in enumerate(NAMES):
        images = root / "train" / name / "images"
        images.mkdir(parents=True)
        for number in range(11):  # 10 sorts behind 9
            grey = np.full((4, 6), 100 * label + number, dtype=np.uint8)
            Image.fromarray(grey).save(images / f"{name}_{number}.JPEG", quality=100)
    (root / "wnids.txt").write_text("n02\nn01\n")
    images = root / "val" / "images"
    images.mkdir(parents=True)
    lines = []
    for number, name in enumerate(("n01", "n02", "n01")):
        rgb = np.zeros((4, 6, 3), dtype=np.uint8)
        rgb[..., number] = 255
        Image.fromarray(rgb).save(images / f"val_{number}.JPEG", quality=100, subsampling=0)
        lines.append(f"val_{number}.JPEG\t{name}\t0\t0\t5\t3\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_training_images_go_round_the_classes(folder: Path) -> None:
    data = read_tiny_imagenet(folder, "train")
    assert (data.name, data.classes, data.x.shape) == ("tiny-imagenet:train", 2, (22, 3, 4, 6))
    assert data.x.dtype == np.float32
    assert data.y.tolist() == [0, 1] * 11
    greys = np.rint(data.x.mean(axis=(1, 2, 3)) * 255).astype(int).tolist()
    assert greys == [100 * label + number for number in range(11) for label in (0, 1)]
    assert np.ptp(data.x, axis=(1, 2, 3)).max() == 0  # one channel became three alike


def test_test_images_are_the_validation_images_in_the_order_of_their_table(folder: Path) -> None:
    data = read_tiny_imagenet(folder, "test")
    assert data.y.tolist() == [1, 0, 1]
    assert data.x.mean(axis=(2, 3)).argmax(axis=1).tolist() == [0, 1, 2]  # red, green, blue
    assert 0 <= data.x.min() and data.x.max() <= 1 and data.x.max() > 0.95


def test_images_are_decoded_once_and_again_when_they_change(
    folder: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = read_tiny_imagenet(folder, "test").x.copy()
    assert "decoding 3 images" in capsys.readouterr().err
    again = read_tiny_imagenet(folder, "test")
    assert capsys.readouterr().err == "" and not again.x.flags.writeable
    np.testing.assert_array_equal(first, again.x)
    x, _ = again.batch([0, 2])
    assert x.shape == (2, 3, 4, 6)
    file = folder / "val" / "images" / "val_0.JPEG"
    Image.new("RGB", (6, 4), "white").save(file)
    assert read_tiny_imagenet(folder, "test").x[0].min() == 1
    assert len(list((cache / "tiny-imagenet").glob("test-*/x.npy"))) == 2


def test_it_is_found_by_name_below_the_data_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROKD_DATA", str(folder.parent))
    assert load_data("tiny-imagenet").y.tolist() == [1, 0, 1]
    assert TINY_IMAGENET.complete(folder.parent)


def test_a_folder_that_is_not_complete_is_refused(folder: Path) -> None:
    (folder / "val" / "images" / "val_1.JPEG").unlink()
    with pytest.raises(FileFormatError, match=r"val_1\.JPEG: an image is missing"):
        read_tiny_imagenet(folder, "test")
    shutil.rmtree(folder / "train" / "n01")
    with pytest.raises(FileFormatError, match="n01/images: a class has no images"):
        read_tiny_imagenet(folder, "train")
    (folder / "wnids.txt").unlink()
    with pytest.raises(FileFormatError, match=r"wnids\.txt: .*cannot be read"):
        read_tiny_imagenet(folder, "train")


@pytest.mark.parametrize("line", ["val_0.JPEG\tn99\t0", "../x.JPEG\tn01\t0", "val_0.JPEG", "\tn01"])
def test_a_foreign_table_is_refused(folder: Path, line: str) -> None:
    (folder / "val" / "val_annotations.txt").write_text(f"{line}\n")
    with pytest.raises(FileFormatError, match="names no image of a class"):
        read_tiny_imagenet(folder, "test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"", "not a complete image"),
        (b"no image at all", "not a complete image"),
        ("half", "not a complete image"),
        ((5, 4), "another size than the first .expected 6 × 4, found 5 × 4"),
        ((600, 4), "too large .expected ≤ 512"),
    ],
)
def test_a_broken_image_is_named_and_nothing_is_kept(
    folder: Path, cache: Path, damage: bytes | str | tuple[int, int], message: str
) -> None:
    file = folder / "val" / "images" / "val_2.JPEG"
    if isinstance(damage, bytes):
        file.write_bytes(damage)
    elif isinstance(damage, tuple):
        Image.new("RGB", damage).save(file)
    else:
        file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(FileFormatError, match=rf"val_2\.JPEG: .*{message}") as error:
        read_tiny_imagenet(folder, "test")
    assert "\n" not in str(error.value)
    assert not list((cache / "tiny-imagenet").glob("*/*"))
