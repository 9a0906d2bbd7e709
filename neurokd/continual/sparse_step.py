"""`SparseSteps`: the steps of an epoch, of one learner or of a stack of equal ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from neurokd.config.continual import LearningConfig
from neurokd.continual.sparse_answer import new_answers, room_for
from neurokd.continual.sparse_arrays import (
    HIDDEN,
    LOSS,
    Floats,
    Gradients,
    Sizes,
    Stack,
    Touched,
)
from neurokd.continual.sparse_batch import BatchMemory, Lesson, flat
from neurokd.continual.sparse_change import clip_factors, differentiate, gather, update
from neurokd.continual.sparse_dense import dense_gradients, divergence
from neurokd.continual.sparse_inertia import Inertia
from neurokd.continual.sparse_layer import hidden_layer
from neurokd.continual.sparse_respond import compete, respond
from neurokd.models.sdmlp import SDMLP
from neurokd.neurons.threads import in_threads

SMALL = 2**19
"""Multiplications below which a thread takes longer to begin than to compute them."""


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
        self.inertia = inertia or [
            Inertia(network, own) for network, own in zip(networks, learning, strict=True)
        ]
        self.pulled = np.zeros(len(networks))
        self.layers = [hidden_layer(network) for network in networks]
        winners = [layer.winners for layer in self.layers]
        neurons, inputs = self.layers[0].weight.shape
        classes, k = len(self.layers[0].classifier), winners[0].k
        room = room_for(neurons, k)
        taught_room = max(lesson.taught_room for lesson in lessons)
        self.sizes = Sizes(inputs, neurons, classes, k, room, taught_room)
        weights = [layer.weight for layer in self.layers]
        self.weights = weights[0][None] if len(weights) == 1 else torch.stack(weights)
        self.readout = torch.stack([layer.classifier.t().contiguous() for layer in self.layers])
        self.gains = torch.stack([layer.gains() for layer in winners])
        self.counts = torch.stack([layer.counts for layer in winners])
        self.stack = Stack(
            flat(self.weights),
            flat(self.readout),
            flat(self.gains),
            flat(self.counts),
            np.array([lesson.factors() for lesson in lessons], np.float64).ravel(),
            np.concatenate([lesson.ranks(neurons) for lesson in lessons]),
        )
        self.batch = BatchMemory(lessons, [own.batch_size for own in learning], self.sizes)
        rows = len(self.batch.x)
        self.answers = new_answers(rows, self.sizes)
        self.a = torch.from_numpy(self.answers.activation).view(rows, neurons)
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
                self.batch.take(mine, chosen, at)
                torch.mm(self.batch.x[at], self.weights[mine].t(), out=self.a[at])
                self.layers[mine].winners.seen += len(chosen)
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

    def _shared(self, count: int, each: int, work: Callable[[int, int], None]) -> None:
        """Work on ``count`` rows of ``each`` numbers, by threads if that is worth their start."""
        if count * each < SMALL:
            work(0, count)
        else:
            in_threads(count, 1, work)

    def _answer(self, start: int, stop: int) -> None:
        sizes, owner, answers = self.sizes, self.batch.samples.owner, self.answers
        compete(start, stop, sizes, self.stack.gains, owner, answers)
        respond(start, stop, sizes, self.stack, self.batch.samples, answers)

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
            distance, slopes = divergence(own, teacher.before(self.batch.x[at]), loss.hidden)
            total[mine, [LOSS, HIDDEN]] += float(distance.double().sum())
            gradient = (slopes / len(slopes)).t() @ self.batch.x[at]
            found.append((teacher.chosen + mine * self.sizes.neurons, gradient))
        return found

    def _sparse_gradients(self, rows: int, before: Sequence[tuple[Tensor, Tensor]]) -> int:
        """Gradients of the rows that active neurons touch, and of those of ``before``; gives U."""
        sizes, inputs = self.sizes, self.sizes.inputs
        begun = 0
        for neurons, _ in before:
            self.touched.neuron[begun : begun + len(neurons)] = neurons.numpy()
            begun += len(neurons)
        changed = gather(
            0, rows, sizes, self.batch.samples.owner, self.answers, begun, self.touched
        )
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
                self.batch.samples.x,
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
        value = self.inertia[mine].step(
            self.weights[mine],
            self.readout[mine],
            torch.from_numpy(weights[own]),
            torch.from_numpy(readout[own]),
            places,
        )
        times = np.diff(touched.first[: changed + 1])[own]
        active = torch.zeros(sizes.neurons, dtype=torch.int64)
        active[places] = torch.from_numpy(times)
        self._count(mine, active)
        return self._pulled(mine, at, value)

    def _dense_step(self, mine: int, at: slice) -> Floats:
        """The whole step of one learner, for all neurons; gives the sums of its loss terms."""
        lesson, gains = self.lessons[mine], self.gains[mine]
        weights, readout = self.weights[mine], self.readout[mine]
        teacher, hidden = lesson.teacher, None
        if teacher is not None and lesson.loss.hidden.weight:
            if lesson.loss.before:
                hidden = teacher.before(self.batch.x[at])
            else:
                hidden = torch.zeros(at.stop - at.start, len(teacher.chosen) + 1)
                index = self.batch.which[at].long()  # −1 goes to the last place, which is cut off
                hidden.scatter_(
                    1, index.where(index >= 0, len(teacher.chosen)), self.batch.heights[at]
                )
                hidden = hidden[:, :-1]
        found = dense_gradients(
            self.a[at],
            torch.from_numpy(self.answers.inhibition[at]),
            self.batch.x[at],
            self.batch.labels[at],
            readout,
            gains,
            lesson.loss,
            self.batch.taught[at] if teacher is not None else None,
            teacher.chosen if teacher is not None else None,
            hidden,
        )
        value = self.inertia[mine].step(weights, readout, found.weights, found.readout)
        self._count(mine, found.active)
        sums: Floats = found.sums.numpy()
        sums[LOSS] += self._pulled(mine, at, value)
        return sums

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
