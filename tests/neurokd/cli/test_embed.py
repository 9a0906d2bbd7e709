"""`neurokd embed`: a file of embeddings by one command, and refusals of one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurokd.cli.app import main
from neurokd.data import load_data
from neurokd.data.embeddings import read_embeddings

LESSON = """role = "embed"
data = {data}
[model]
name = "module"
factory = "quartering:net"
"""


@pytest.fixture
def lesson(tmp_path: Path, tiny_data: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from torch import nn\n\ndef net():\n    return nn.AvgPool2d(7)\n"
    (tmp_path / "quartering.py").write_text(text)
    (tmp_path / "lesson.toml").write_text(LESSON.format(data=json.dumps(tiny_data)))
    return str(tmp_path / "lesson.toml")


def test_a_file_is_written_where_it_is_wanted(
    lesson: str, tmp_path: Path, tiny_data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "e.safetensors"
    assert main(["embed", lesson, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    embeddings = read_embeddings(out)
    images = load_data(tiny_data, "train")
    expected = images.x.reshape(-1, 4, 7, 4, 7).mean(axis=(2, 4)).reshape(-1, 16)
    np.testing.assert_allclose(embeddings.train.x, expected, rtol=1e-5, atol=1e-6)
    assert f"{out}: {tiny_data}, train (160, 16), test (160, 16)" in said
    assert embeddings.sha256() in said
    assert len(load_data(str(out))) == 160


def test_without_a_place_it_is_kept_in_the_cache_and_not_computed_again(
    lesson: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["embed", lesson, "--set", "samples=20", "--json"]
    assert main(words) == 0
    first = capsys.readouterr()
    assert main(words) == 0
    second = capsys.readouterr()
    answer = json.loads(first.out)
    assert answer == json.loads(second.out)
    assert "embed: 180/180" in first.err and second.err == ""
    assert Path(answer["file"]).is_relative_to(tmp_path / "cache")
    assert (answer["train"], answer["test"]) == ([20, 16], [160, 16])
    assert answer["sha256"] == read_embeddings(Path(answer["file"])).sha256()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no such configuration"),
        (["mnist-student"], "another kind"),
        (["embed-cifar10-convmixer", "--set", "weights=none"], "weights of the extractor are miss"),
        (["LESSON", "--out", "x.npz"], "ends in .safetensors"),
        (["LESSON", "--set", "layer=neck"], "no module of this path"),
        (["LESSON", "--set", "data=nowhere"], "unknown data set"),
        (["LESSON", "--set", "batch=3"], "batch: unknown key, expected batch_size"),
        (["LESSON", "--set", "mean=[0.5]"], "mean and deviation go together"),
        (["LESSON", "--set", "model.dim=3"], "dim is not an option of module"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, lesson: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", *(lesson if word == "LESSON" else word for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and message in captured.err and captured.out == ""


@pytest.mark.training
def test_a_convmixer_that_was_taught_is_an_extractor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for split in ("train", "test"):  # a corner whose brightness is the class
        y = np.arange(128) % 4
        x = rng.random((128, 3, 12, 12)).astype(np.float32) * 0.3
        x[:, :, :4, :4] += (y / 6).astype(np.float32)[:, None, None, None]
        np.savez(tmp_path / "images" / f"{split}.npz", x=x, y=y)
    small = ["data=images", "model.dim=8", "model.depth=1", "model.classes=4"]
    lesson = ["recipe.epochs=2", "recipe.batch_size=32", "augment.flip=false"]
    given = [word for value in (*small, *lesson) for word in ("--set", value)]
    assert main(["teach", "convmixer", "--out", "run", *given]) == 0
    given = [word for value in (*small, "weights=run") for word in ("--set", value)]
    assert main(["embed", "embed-cifar10-convmixer", "--out", "e.safetensors", *given]) == 0
    assert "train (128, 8), test (128, 8)" in capsys.readouterr().out
    assert load_data("e.safetensors", "train").x.std() > 0
