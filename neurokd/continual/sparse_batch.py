"""`Lesson` and `BatchMemory`: the samples of a task, and those of a step in the kernels' arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurokd.continual.sparse_answer import new_answers
from neurokd.continual.sparse_arrays import Integers, Samples, Sizes
from neurokd.continual.sparse_dense import Loss
from neurokd.continual.sparse_teacher import SubnetworkTeacher, Taught


@dataclass(frozen=True)
class Lesson:
    """The samples of a task, normalised, x (N, d) and y (N,); its loss, and what the teacher says.

    ``taught`` is None without a teacher, and if that is asked anew for every batch.
    """

    x: Tensor
    y: Tensor
    loss: Loss
    teacher: SubnetworkTeacher | None = None
    taught: Taught | None = None

    @property
    def taught_room(self) -> int:
        """The most active neurons of 𝓘 of a sample that the teacher may have."""
        if self.taught is not None:
            return self.taught.which.shape[1]
        return 1 if self.teacher is None else len(self.teacher.chosen)

    def factors(self) -> list[float]:
        """What the kernels have to know of the loss, in the order of `Stack.losses`."""
        loss = self.loss
        hidden = 0.0 if loss.before else loss.hidden.weight
        temperature, reverse = loss.logits.temperature, float(loss.logits.reverse)
        chosen = 0 if self.teacher is None else len(self.teacher.chosen)
        return [loss.ce, hidden, loss.logits.weight, temperature, reverse, float(chosen)]

    def ranks(self, neurons: int) -> Integers:
        """Each neuron's place among those that are distilled, or −1; (r,)."""
        if self.teacher is None:
            return np.full(neurons, -1, np.int64)
        return self.teacher.ranks()


class BatchMemory:
    """A batch of each of S learners, one after another, with what their teachers say of it.

    ``sizes.taught_room`` is enough for all lessons. `samples` are the same numbers as the kernels
    take them.
    """

    def __init__(self, lessons: Sequence[Lesson], batch_sizes: Sequence[int], sizes: Sizes) -> None:
        self.lessons = lessons
        rows = sum(batch_sizes)
        self.x = torch.empty(rows, sizes.inputs)
        self.labels = torch.zeros(rows, dtype=torch.int64)
        self.taught = torch.zeros(rows, sizes.classes)
        self.which = torch.full((rows, sizes.taught_room), -1, dtype=torch.int32)
        self.heights = torch.zeros(rows, sizes.taught_room)
        self.samples = Samples(
            flat(self.x),
            np.zeros(rows, np.int64),
            flat(self.labels),
            np.zeros(rows, np.float64),
            flat(self.taught),
            flat(self.which),
            flat(self.heights),
        )
        asked = [
            size
            for lesson, size in zip(lessons, batch_sizes, strict=True)
            if lesson.teacher is not None and lesson.taught is None
        ]
        self._asked = new_answers(max(asked), sizes) if asked else None

    def take(self, mine: int, chosen: Tensor, at: slice) -> None:
        """Put the samples of a learner's lesson that are ``chosen`` in the rows ``at``."""
        lesson = self.lessons[mine]
        torch.index_select(lesson.x, 0, chosen, out=self.x[at])
        torch.index_select(lesson.y, 0, chosen, out=self.labels[at])
        self.samples.owner[at] = mine
        self.samples.share[at] = 1 / len(chosen)
        taught = lesson.taught
        if lesson.teacher is None:
            return
        if taught is None:
            taught = lesson.teacher.answer(self.x[at], answers=self._asked)
            chosen = torch.arange(len(chosen))
        assert taught is not None  # without a limit there is an answer
        width = taught.which.shape[1]
        self.taught[at] = taught.logits[chosen]
        self.which[at, :width] = taught.which[chosen]
        self.which[at, width:] = -1
        self.heights[at, :width] = taught.heights[chosen]


def flat(tensor: Tensor) -> Any:
    """The memory of a contiguous tensor, as a flat array."""
    return tensor.numpy().reshape(-1)
