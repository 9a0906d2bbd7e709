"""`Stream`: a data set as a sequence of tasks with disjoint classes, learned one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from neurokd.data.labelled import LabelledData
from neurokd.errors import ShapeMismatchError, UsageError

Order = Literal["ordinal"] | int
"""Of the classes: as they are numbered, or shuffled by a seed."""
ORDERS: tuple[Order, ...] = ("ordinal", 3, 15, 27, 97)
"""The five runs of the papers."""


@dataclass(frozen=True)
class Task:
    """The samples of some classes; labels are those of the whole data set (one head for all)."""

    index: int
    classes: tuple[int, ...]
    train: LabelledData
    test: LabelledData
    validation: LabelledData | None = None


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned; ``classes`` is K of the single head."""

    name: str
    classes: int
    tasks: tuple[Task, ...]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.tasks[0].train.sample_shape

    def joined(self) -> Stream:
        """One task with all classes: joint training, the upper line of continual learning."""
        first = self.tasks[0]
        if len(self.tasks) == 1:
            return self
        parts = [task.validation for task in self.tasks if task.validation is not None]
        together = Task(
            0,
            tuple(c for task in self.tasks for c in task.classes),
            _joined([task.train for task in self.tasks]),
            _joined([task.test for task in self.tasks]),
            _joined(parts) if first.validation is not None else None,
        )
        return Stream(f"{self.name} (joint)", self.classes, (together,))


def class_order(classes: int, order: Order) -> tuple[int, ...]:
    """The classes 0 … K − 1 as numbered, or in the permutation that numpy's PCG64 draws.

    Raises: `UsageError` for a seed below 0.
    """
    if order == "ordinal":
        return tuple(range(classes))
    if order < 0:
        raise UsageError(
            "this is no order of the classes",
            where="order",
            expected="ordinal, or a seed ≥ 0",
            found=str(order),
        )
    return tuple(int(c) for c in np.random.default_rng(order).permutation(classes))


def split_stream(
    train: LabelledData,
    test: LabelledData,
    *,
    per_task: int = 2,
    order: Order = "ordinal",
    tasks: int | None = None,
    validation: float = 0.0,
    seed: int = 0,
) -> Stream:
    """Cut a data set into tasks of ``per_task`` classes each, the first ``tasks`` of them.

    ``validation`` is the part of each class that is held out of training, drawn by ``seed``.
    Raises: `UsageError` for event frames, for classes that do not divide, and for one without
    samples; `ShapeMismatchError` for test samples of another shape.
    """
    if train.events or test.events:
        raise UsageError(
            "a stream is of samples without time, and these are event frames",
            where=train.name,
            remedy="give images or embeddings, such as mnist or cifar10",
        )
    if test.sample_shape != train.sample_shape:
        raise ShapeMismatchError(
            "training and test samples do not belong together",
            where=test.name,
            expected=f"samples of {train.sample_shape}",
            found=str(test.sample_shape),
        )
    classes = max(train.classes, test.classes)
    if per_task < 1 or classes % per_task:
        raise UsageError(
            "the classes do not divide among the tasks",
            where=train.name,
            expected=f"a divisor of {classes}",
            found=str(per_task),
            remedy="change per_task",
        )
    most = classes // per_task
    count = most if tasks is None else tasks
    if not 1 <= count <= most:
        raise UsageError(
            "there are not so many tasks",
            where="tasks",
            expected=f"1 … {most}",
            found=str(tasks),
        )
    held_out = None
    if validation:
        train, held_out = train.split(validation, seed)
    sequence = class_order(classes, order)
    made = []
    for index in range(count):
        chosen = sequence[index * per_task : (index + 1) * per_task]
        made.append(
            Task(
                index,
                chosen,
                of_classes(train, chosen),
                of_classes(test, chosen),
                of_classes(held_out, chosen) if held_out is not None else None,
            )
        )
    return Stream(train.name, classes, tuple(made))


def of_classes(data: LabelledData, classes: Sequence[int]) -> LabelledData:
    """The samples of some classes, in the order of the data; `UsageError` if one has none."""
    chosen = np.flatnonzero(np.isin(data.y, classes))
    missing = sorted(set(classes) - set(data.y[chosen].tolist()))
    if missing:
        raise UsageError(
            "a class has no samples",
            where=data.name,
            found=f"class {missing[0]}",
            remedy="take more samples, or other classes",
        )
    return replace(data, x=data.x[chosen], y=data.y[chosen])


def _joined(parts: Sequence[LabelledData]) -> LabelledData:
    return replace(
        parts[0],
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
    )
