"""`SparseSteps`: the steps of an epoch, of one learner or of a stack of equal ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neurokd.config.continual import LearningConfig
from neurokd.continual.sparse_answer import new_answers, room_for
from neurokd.continual.sparse_arrays import (
    HIDDEN,
    LOSS,
    Floats,
    Gradients,
    Integers,
    Samples,
    Sizes,
    Stack,
    Touched,
)
from neurokd.continual.sparse_dense import Loss, dense_gradients, divergence
from neurokd.continual.sparse_inertia import Inertia
from neurokd.continual.sparse_kernel import (
    clip_factors,
    compete,
    differentiate,
    gather,
    respond,
    update,
)
from neurokd.continual.sparse_layer import hidden_layer
from neurokd.continual.sparse_teacher import SubnetworkTeacher, Taught
from neurokd.models.sdmlp import SDMLP
from neurokd.neurons.threads import in_threads

SMALL = 2**16
"""Multiplications below which a thread takes longer to begin than to compute them."""


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


class SparseSteps:
    """Steps of S networks of one hidden layer; `finish` puts what they learned into them.

    What one network gets does not depend on the others. With ``inertia``, of all or of none, every
    weight moves in every step; gradients are still computed for active neurons alone. ``pulled``
    has what the pulls added to the loss, summed over the samples like the other terms.
    """

    def __init__(
        self,
        networks: Sequence[SDMLP],
        lessons: Sequence[Lesson],
        learning: Sequence[LearningConfig],
        inertia: Sequence[Inertia] = (),
    ) -> None:
        self.lessons, self.learning = lessons, learning
        self.inertia = inertia or [Inertia(network, 0.0, None) for network in networks]
        self.pulled = np.zeros(len(networks))
        self.layers = [hidden_layer(network) for network in networks]
        winners = [layer.winners for layer in self.layers]
        neurons, inputs = self.layers[0].weight.shape
        classes, k = len(self.layers[0].classifier), winners[0].k
        room = room_for(neurons, k)
        widest = max(lesson.taught_room for lesson in lessons)
        self.sizes = Sizes(inputs, neurons, classes, k, room, widest)
        weights = [layer.weight for layer in self.layers]
        self.weights = weights[0][None] if len(weights) == 1 else torch.stack(weights)
        self.readout = torch.stack([layer.classifier.t().contiguous() for layer in self.layers])
        self.gains = torch.stack([layer.gains() for layer in winners])
        self.counts = torch.stack([layer.counts for layer in winners])
        self.stack = Stack(
            _flat(self.weights),
            _flat(self.readout),
            _flat(self.gains),
            _flat(self.counts),
            np.array([_loss_row(lesson) for lesson in lessons], np.float64).ravel(),
            np.concatenate([_ranks(lesson, neurons) for lesson in lessons]),
        )
        rows = sum(c.batch_size for c in learning)
        self.answers = new_answers(rows, self.sizes)
        self.a = torch.from_numpy(self.answers.activation).view(rows, neurons)
        self.x = torch.empty(rows, inputs)
        self.taught = torch.zeros(rows, classes)
        self.which = torch.full((rows, widest), -1, dtype=torch.int32)
        self.heights = torch.zeros(rows, widest)
        self.labels = torch.zeros(rows, dtype=torch.int64)
        self.samples = Samples(
            _flat(self.x),
            np.zeros(rows, np.int64),
            _flat(self.labels),
            np.zeros(rows, np.float64),
            _flat(self.taught),
            _flat(self.which),
            _flat(self.heights),
        )
        size, pairs = len(networks) * neurons, rows * room
        self.touched = Touched(
            np.empty(size, np.int64),
            np.empty(size + 1, np.int64),
            np.empty(pairs, np.int32),
            np.empty(pairs, np.float32),
            np.empty(pairs, np.float32),
            np.zeros(size, np.int32),
        )
        self.gradients = self._gradients(0)
        asked = [
            c.batch_size
            for lesson, c in zip(lessons, learning, strict=True)
            if lesson.teacher is not None and lesson.taught is None
        ]
        self._asked = new_answers(max(asked), self.sizes) if asked else None
        self.limits = np.array([c.clip_norm for c in learning], np.float64)
        self.rates = np.array([c.learning_rate for c in learning], np.float64)
        self.switch = np.array([layer.switch_samples for layer in winners], np.int64)
        self.factors = np.empty(len(networks), np.float64)

    def _gradients(self, rows: int) -> Gradients:
        sizes = self.sizes
        return Gradients(
            np.empty(rows * sizes.inputs, np.float32),
            np.empty(rows * sizes.classes, np.float32),
            np.empty(rows, np.float64),
        )

    def step(self, batches: Sequence[Tensor | None]) -> Floats:
        """One step of each learner, on the samples of its lesson at these places; None: no step.

        Returns the sums (S, 5) of the loss terms over the samples.
        """
        edges = np.cumsum([0, *(0 if chosen is None else len(chosen) for chosen in batches)])
        ranges = [slice(a, b) for a, b in pairwise(edges.tolist())]
        for mine, (chosen, at) in enumerate(zip(batches, ranges, strict=True)):
            if chosen is not None:
                self._take(mine, chosen, at)
        rows = int(edges[-1])
        self._shared(rows, self.sizes.neurons, self._answer)
        crowded = self.answers.found[:rows] < 0
        dense = [mine for mine, at in enumerate(ranges) if crowded[at].any()]
        for mine in dense:
            self.answers.found[ranges[mine]] = -1
        sums = self.answers.sums[: rows * 5].reshape(rows, 5)
        total: Floats = np.array([sums[at].sum(axis=0) for at in ranges])
        for mine in dense:
            total[mine] = self._dense_step(mine, ranges[mine])
        if len(dense) < len(batches):
            others = [mine for mine in range(len(batches)) if mine not in dense]
            changed = self._sparse_gradients(rows, self._before(others, ranges, total))
            if any(each.moves_all for each in self.inertia):
                for mine in others:
                    total[mine, LOSS] += self._whole_step(mine, ranges[mine], changed)
            else:
                self._sparse_step(changed)
        return total

    def _take(self, mine: int, chosen: Tensor, at: slice) -> None:
        """Put a learner's batch in its place, and its activations beside it."""
        lesson = self.lessons[mine]
        torch.index_select(lesson.x, 0, chosen, out=self.x[at])
        torch.index_select(lesson.y, 0, chosen, out=self.labels[at])
        self.samples.owner[at] = mine
        self.samples.share[at] = 1 / len(chosen)
        torch.mm(self.x[at], self.weights[mine].t(), out=self.a[at])
        self.layers[mine].winners.seen += len(chosen)
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

    def _shared(self, count: int, each: int, work: Callable[[int, int], None]) -> None:
        """Work on ``count`` rows of ``each`` numbers, by threads if that is worth their start."""
        if count * each < SMALL:
            work(0, count)
        else:
            in_threads(count, 1, work)

    def _answer(self, start: int, stop: int) -> None:
        sizes, owner, answers = self.sizes, self.samples.owner, self.answers
        compete(start, stop, sizes, self.stack.gains, owner, answers)
        respond(start, stop, sizes, self.stack, self.samples, answers)

    def _before(
        self, learners: Sequence[int], ranges: Sequence[slice], total: Floats
    ) -> list[tuple[Tensor, Tensor]]:
        """Gradients of what is distilled before the competition: neurons of the stack, rows of W.

        Its losses are added to ``total``.
        """
        found = []
        for mine in learners:
            lesson, at = self.lessons[mine], ranges[mine]
            loss, teacher = lesson.loss, lesson.teacher
            if teacher is None or not loss.before or not loss.hidden.weight or at.start == at.stop:
                continue
            own = self.a[at][:, teacher.chosen]
            distance, slopes = divergence(own, teacher.before(self.x[at]), loss.hidden)
            total[mine, [LOSS, HIDDEN]] += float(distance.double().sum())
            gradient = (slopes / len(slopes)).t() @ self.x[at]
            found.append((teacher.chosen + mine * self.sizes.neurons, gradient))
        return found

    def _sparse_gradients(self, rows: int, before: Sequence[tuple[Tensor, Tensor]]) -> int:
        """Gradients of the rows that active neurons touch, and of those of ``before``; gives U."""
        sizes, inputs = self.sizes, self.sizes.inputs
        begun = 0
        for neurons, _ in before:
            self.touched.neuron[begun : begun + len(neurons)] = neurons.numpy()
            begun += len(neurons)
        changed = gather(0, rows, sizes, self.samples.owner, self.answers, begun, self.touched)
        if changed > len(self.gradients.squares):
            self.gradients = self._gradients(min(changed * 5 // 4, len(self.touched.neuron)))
        if before:
            gradient = torch.cat([part for _, part in before])
            self.gradients.weights[: begun * inputs] = gradient.numpy().ravel()

        def derive(start: int, stop: int) -> None:
            differentiate(
                start,
                stop,
                sizes,
                self.samples.x,
                self.answers,
                begun,
                self.touched,
                self.gradients,
            )

        self._shared(changed, inputs, derive)
        return changed

    def _sparse_step(self, changed: int) -> None:
        """The rows that have a gradient change, and no others."""
        sizes, squares = self.sizes, self.gradients.squares
        clip_factors(changed, sizes.neurons, self.limits, self.touched, squares, self.factors)
        step = self.rates * self.factors

        def change(start: int, stop: int) -> None:
            update(start, stop, sizes, self.stack, self.touched, self.gradients, step, self.switch)

        self._shared(changed, sizes.inputs, change)

    def _whole_step(self, mine: int, at: slice, changed: int) -> float:
        """All rows of one learner change, whose gradients are there for some; gives the sum of what
        its pull adds to the loss."""
        if at.start == at.stop:
            return 0.0
        sizes, touched = self.sizes, self.touched
        neurons = touched.neuron[:changed] - mine * sizes.neurons
        own = (neurons >= 0) & (neurons < sizes.neurons)
        places = torch.from_numpy(neurons[own])
        weights = self.gradients.weights[: changed * sizes.inputs].reshape(changed, -1)
        readout = self.gradients.readout[: changed * sizes.classes].reshape(changed, -1)
        value = self._descend(
            mine, torch.from_numpy(weights[own]), torch.from_numpy(readout[own]), places
        )
        times = np.diff(touched.first[: changed + 1])[own]
        active = torch.zeros(sizes.neurons, dtype=torch.int64)
        active[places] = torch.from_numpy(times)
        self._count(mine, active)
        return self._pulled(mine, at, value)

    def _dense_step(self, mine: int, at: slice) -> Floats:
        """The whole step of one learner, for all neurons; gives the sums of its loss terms."""
        lesson, readout, gains = self.lessons[mine], self.readout[mine], self.gains[mine]
        teacher, hidden = lesson.teacher, None
        if teacher is not None and lesson.loss.hidden.weight:
            if lesson.loss.before:
                hidden = teacher.before(self.x[at])
            else:
                hidden = torch.zeros(at.stop - at.start, len(teacher.chosen) + 1)
                index = self.which[at].long()  # −1 goes to the last place, which is cut off
                hidden.scatter_(1, index.where(index >= 0, len(teacher.chosen)), self.heights[at])
                hidden = hidden[:, :-1]
        found = dense_gradients(
            self.a[at],
            torch.from_numpy(self.answers.inhibition[at]),
            self.x[at],
            self.labels[at],
            readout,
            gains,
            lesson.loss,
            self.taught[at] if teacher is not None else None,
            teacher.chosen if teacher is not None else None,
            hidden,
        )
        value = self._descend(mine, found.weights, found.readout)
        self._count(mine, found.active)
        sums: Floats = found.sums.numpy()
        sums[LOSS] += self._pulled(mine, at, value)
        return sums

    def _descend(
        self, mine: int, weights: Tensor, readout: Tensor, rows: Tensor | None = None
    ) -> float:
        """A step of one learner along these gradients, of all neurons or of ``rows``: clipped, with
        the constraints applied behind it; gives what its pull adds to the loss."""
        learning, inertia = self.learning[mine], self.inertia[mine]
        value = inertia.offset
        steps = []
        for part, theta, found in (
            ("weights", self.weights[mine], weights),
            ("readout", self.readout[mine], readout),
        ):
            gradient, added = inertia.whole(part, theta, found, rows)
            steps.append((part, theta, gradient))
            value += added
        clip = 1.0
        if learning.clip_norm:
            squares = sum(float(g.square().sum(dim=1).double().sum()) for _, _, g in steps)
            clip = min(1.0, learning.clip_norm / (math.sqrt(squares) + 1e-6))
        for part, theta, gradient in steps:
            inertia.descend(part, theta, gradient, learning.learning_rate, clip)
            theta.clamp_(min=0)
        F.normalize(self.weights[mine], dim=1, out=self.weights[mine])
        return value

    def _count(self, mine: int, active: Tensor) -> None:
        """Counters and gains of one learner, whose neurons answered so many samples."""
        counts = self.counts[mine].add_(active)
        share = counts.float() / int(self.switch[mine])
        self.gains[mine].copy_((2.0 * share - 1.0).clamp(-1.0, 1.0))

    def _pulled(self, mine: int, at: slice, value: float) -> float:
        """The sum over a batch of what the pull adds to its mean loss."""
        total: float = value * (at.stop - at.start)
        self.pulled[mine] += total
        return total

    def finish(self) -> None:
        """Put weights and counters back into the networks."""
        for mine, layer in enumerate(self.layers):
            if layer.weight.data_ptr() != self.weights[mine].data_ptr():
                layer.weight.copy_(self.weights[mine])
            layer.classifier.copy_(self.readout[mine].t())
            layer.winners.counts.copy_(self.counts[mine])


def _flat(tensor: Tensor) -> Any:
    """The memory of a contiguous tensor, as a flat array."""
    return tensor.numpy().reshape(-1)


def _loss_row(lesson: Lesson) -> list[float]:
    """What the kernels have to know of a loss, in their order."""
    loss = lesson.loss
    hidden = 0.0 if loss.before else loss.hidden.weight
    temperature, reverse = loss.logits.temperature, float(loss.logits.reverse)
    chosen = 0 if lesson.teacher is None else len(lesson.teacher.chosen)
    return [loss.ce, hidden, loss.logits.weight, temperature, reverse, float(chosen)]


def _ranks(lesson: Lesson, neurons: int) -> Integers:
    if lesson.teacher is None:
        return np.full(neurons, -1, np.int64)
    return lesson.teacher.ranks()
