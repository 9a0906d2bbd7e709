"""The stream that a configuration names: a data set, a file, or a data set behind an extractor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurokd.config import ContinualConfig
from neurokd.continual.load_stream import load_stream
from neurokd.data import LabelledData, load_data
from neurokd.data.embeddings import Embeddings, write_embeddings
from neurokd.errors import NeurokdError


def config(**values: object) -> ContinualConfig:
    return ContinualConfig.model_validate({"data": "mnist-subset", **values})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Sample i of class i mod 4 is (i, class)."""
    parts = []
    for split, count in (("train", 40), ("test", 8)):
        y = np.arange(count) % 4
        x = np.stack([np.arange(count), y], axis=1).astype(np.float32)
        parts.append(LabelledData(split, x, y))
    path = tmp_path / "e.safetensors"
    return write_embeddings(path, Embeddings("squares", "a network", "0" * 64, *parts))


def test_a_data_set_by_name_has_all_its_samples() -> None:
    stream = load_stream(config())
    assert [task.classes for task in stream.tasks] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert sum(len(task.train) for task in stream.tasks) == len(load_data("mnist-subset:train"))
    assert sum(len(task.test) for task in stream.tasks) == len(load_data("mnist-subset:test"))
    assert stream.sample_shape == (1, 28, 28)  # the network flattens


def test_samples_are_the_first_ones_of_training_alone() -> None:
    stream = load_stream(config(samples=400, order=3, tasks=2, learning={"validation": 0.25}))
    first = load_data("mnist-subset:train").first(400)
    for task in stream.tasks:
        assert task.validation is not None
        there = int(np.isin(first.y, task.classes).sum())
        assert len(task.train) + len(task.validation) == there
    assert stream.tasks[0].classes == (9, 6)
    assert sum(len(task.test) for task in stream.tasks) > 300


def test_a_file_of_embeddings_is_a_stream(file: Path) -> None:
    stream = load_stream(config(data=str(file), samples=12))
    assert stream.classes == 4 and stream.sample_shape == (2,)
    assert stream.tasks[1].train.x[:, 0].tolist() == [2, 3, 6, 7, 10, 11]
    assert stream.tasks[1].test.x[:, 0].tolist() == [2, 3, 6, 7]
    joint = load_stream(config(data=str(file), joint=True))
    assert len(joint.tasks) == 1 and len(joint.tasks[0].train) == 40


def test_a_data_set_behind_an_extractor_is_a_stream(
    tmp_path: Path, tiny_data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "halving.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.AvgPool2d(14)\n"
    )
    lesson = tmp_path / "lesson.toml"
    lesson.write_text('role = "embed"\n[model]\nname = "module"\nfactory = "halving:net"\n')
    said: list[int] = []
    wanted = config(data=tiny_data, embedding=str(lesson), per_task=5)
    stream = load_stream(wanted, lambda done, total, note: said.append(total))
    images = load_data(tiny_data, "train")
    expected = images.x.reshape(-1, 2, 14, 2, 14).mean(axis=(2, 4)).reshape(-1, 4)
    small = images.y < 5
    np.testing.assert_allclose(stream.tasks[0].train.x, expected[small], rtol=1e-5, atol=1e-6)
    assert stream.name == f"{tiny_data}:train behind {lesson}"
    assert stream.tasks[0].train.y.tolist() == images.y[small].tolist() and said
    said.clear()
    load_stream(wanted, lambda done, total, note: said.append(total))
    assert not said  # computed once


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": "nowhere"}, "unknown data set"),
        ({"data": "mnist-subset:train"}, "tested on what it was trained on"),
        ({"data": "none.safetensors"}, "none.safetensors: no such file"),
        ({"data": "none.safetensors", "embedding": "embed-cifar10-resnet20"}, "already"),
        ({"embedding": "nowhere"}, "nowhere: no such configuration"),
        ({"embedding": "mnist-student"}, "another kind.*extractor of embeddings.*neurokd train"),
        ({"per_task": 3}, "do not divide"),
        ({"samples": 2}, "a class has no samples"),
    ],
)
def test_what_is_no_stream_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(NeurokdError, match=message) as error:
        load_stream(config(**values))
    assert "\n" not in str(error.value)
