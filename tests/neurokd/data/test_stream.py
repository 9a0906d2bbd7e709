"""Streams: which sample lands in which task, in which order, and what makes no stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurokd.data import LabelledData
from neurokd.data.stream import ORDERS, Stream, class_order, of_classes, split_stream
from neurokd.errors import NeurokdError, ShapeMismatchError, UsageError


def numbered(name: str, per_class: int, classes: int = 6) -> LabelledData:
    """Sample i of class i mod K, its only number i."""
    count = per_class * classes
    x = np.arange(count, dtype=np.float32)[:, None]
    return LabelledData(name, x, np.arange(count, dtype=np.int64) % classes)


TRAIN, TEST = numbered("train", 5), numbered("test", 2)


def test_a_task_has_the_samples_of_its_classes_in_the_order_of_the_data() -> None:
    stream = split_stream(TRAIN, TEST)
    assert (stream.name, stream.classes, stream.sample_shape) == ("train", 6, (1,))
    assert [task.index for task in stream.tasks] == [0, 1, 2]
    assert [task.classes for task in stream.tasks] == [(0, 1), (2, 3), (4, 5)]
    second = stream.tasks[1]
    assert second.train.x[:, 0].tolist() == [2, 3, 8, 9, 14, 15, 20, 21, 26, 27]
    assert second.train.y.tolist() == [2, 3] * 5  # labels of the whole set: a single head
    assert second.test.x[:, 0].tolist() == [2, 3, 8, 9]
    assert second.validation is None


def test_the_seeds_of_the_papers_give_the_same_orders_with_every_numpy() -> None:
    assert ORDERS == ("ordinal", 3, 15, 27, 97)
    # as numpy 1.26.4 and 2.4.6 draw them
    assert class_order(10, "ordinal") == tuple(range(10))
    assert class_order(10, 3) == (9, 6, 0, 2, 1, 4, 7, 5, 3, 8)
    assert class_order(10, 15) == (5, 3, 6, 0, 2, 8, 7, 9, 4, 1)
    assert class_order(10, 27) == (8, 0, 1, 5, 9, 6, 2, 3, 4, 7)
    assert class_order(10, 97) == (3, 8, 6, 4, 5, 1, 7, 0, 9, 2)
    assert sorted(class_order(100, 3)) == list(range(100))


def test_a_seeded_order_moves_classes_between_tasks_and_loses_none() -> None:
    stream = split_stream(TRAIN, TEST, per_task=3, order=3)
    order = class_order(6, 3)
    assert [task.classes for task in stream.tasks] == [order[:3], order[3:]]
    assert order != tuple(range(6))
    together = np.sort(np.concatenate([task.train.x[:, 0] for task in stream.tasks]))
    assert together.tolist() == list(range(30))


def test_the_first_tasks_of_a_stream_know_all_its_classes() -> None:
    stream = split_stream(TRAIN, TEST, tasks=2)
    assert len(stream.tasks) == 2 and stream.classes == 6


def test_validation_samples_are_held_out_of_each_class() -> None:
    stream = split_stream(TRAIN, TEST, validation=0.2, seed=4)
    again = split_stream(TRAIN, TEST, validation=0.2, seed=4)
    other = split_stream(TRAIN, TEST, validation=0.2, seed=5)
    held = [task.validation for task in stream.tasks]
    for task, out in zip(stream.tasks, held, strict=True):
        assert out is not None
        assert np.bincount(out.y)[list(task.classes)].tolist() == [1, 1]  # of 5
        assert np.bincount(task.train.y)[list(task.classes)].tolist() == [4, 4]
        assert not set(out.x[:, 0]) & set(task.train.x[:, 0])
    assert _held(stream) == _held(again) != _held(other)
    joint = stream.joined().tasks[0].validation
    assert joint is not None and sorted(joint.x[:, 0]) == sorted(_held(stream))


def _held(stream: Stream) -> list[float]:
    return [float(v) for t in stream.tasks if t.validation for v in t.validation.x[:, 0]]


def test_a_stream_joins_into_one_task_with_all_samples() -> None:
    joint = split_stream(TRAIN, TEST, order=3).joined()
    (task,) = joint.tasks
    assert task.classes == class_order(6, 3) and joint.classes == 6 and task.validation is None
    assert sorted(task.train.x[:, 0]) == list(range(30))
    assert sorted(task.test.x[:, 0]) == list(range(12))
    assert (task.train.x[:, 0] % 6 == task.train.y).all()
    assert joint.joined() is joint


def test_embeddings_and_images_make_streams_alike() -> None:
    images = LabelledData("images", np.zeros((6, 1, 4, 4), dtype=np.float32), np.arange(6))
    assert split_stream(images, images).sample_shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_task": 4}, "train: the classes do not divide.*divisor of 6, found 4"),
        ({"per_task": 0}, "do not divide"),
        ({"tasks": 4}, "tasks: there are not so many.*1 … 3, found 4"),
        ({"tasks": 0}, "not so many"),
        ({"order": -1}, "order: this is no order.*found -1"),
        ({"validation": 0.9}, "class 0 has too few samples"),
        ({"validation": 1.5}, "out of range"),
    ],
)
def test_what_cannot_be_cut_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        split_stream(TRAIN, TEST, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("train", "test", "kind", "message"),
    [
        (of_classes(TRAIN, [0, 1, 2, 3, 5]), TEST, UsageError, "train: a class has no samples"),
        (TRAIN, of_classes(TEST, [0, 1, 2, 3, 5]), UsageError, "test: .*found class 4"),
        (TRAIN.first(4), TEST, UsageError, "train: .*found class 4"),  # samples = 4
        (TRAIN, replace(TEST, x=np.zeros((12, 2))), ShapeMismatchError, r"\(1,\), found \(2,\)"),
        (
            LabelledData("dvs", np.zeros((2, 3, 4), dtype=np.uint8), np.arange(2), events=True),
            TEST,
            UsageError,
            "dvs: .*event frames; give images",
        ),
    ],
)
def test_data_that_make_no_stream_are_refused(
    train: LabelledData, test: LabelledData, kind: type[NeurokdError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        split_stream(train, test)
