"""What samples cause: the winners of each, its losses and their slopes; compiled for one core.

What a row gets does not depend on the range in which it is computed, so that threads may share the
rows out.
"""

from __future__ import annotations

import math

import numpy as np

from neurokd.continual.sparse_arrays import (
    CE,
    CHOSEN,
    HIDDEN,
    LOGITS,
    LOSS,
    REVERSED,
    RIGHT,
    TEMPERATURE,
    WEIGHT_CE,
    WEIGHT_HIDDEN,
    WEIGHT_LOGITS,
    Answers,
    Floats,
    Integers,
    Samples,
    Sizes,
    Stack,
)
from neurokd.continual.sparse_losses import hidden_divergence, logit_divergence, softened
from neurokd.continual.sparse_select import active, largest
from neurokd.continual.sparse_vectors import BLOCK
from neurokd.hardware.kernel_compiler import compiled


@compiled
def compete(
    start: int, stop: int, sizes: Sizes, gains: Floats, owner: Integers, answers: Answers
) -> None:
    """The active neurons of the samples start … stop − 1; found = −1 where there is no room."""
    scratch = np.empty(sizes.neurons + BLOCK, np.float32)
    for row in range(start, stop):
        first, rank = row * sizes.neurons, sizes.winners + 1
        bound = largest(answers.activation, first, sizes.neurons, rank, scratch)
        answers.inhibition[row] = bound
        answers.found[row] = active(
            answers.activation,
            first,
            sizes.neurons,
            gains,
            owner[row] * sizes.neurons,
            bound,
            answers.which,
            answers.heights,
            row * sizes.room,
            sizes.room,
        )


@compiled
def read_out(
    at: int,
    count: int,
    begin: int,
    classes: int,
    readout: Floats,
    answers: Answers,
    logits: Floats,
) -> None:
    """logits = V h, of the active neurons listed from ``at`` on."""
    logits[:] = 0
    for p in range(at, at + count):
        place = (begin + answers.which[p]) * classes
        for c in range(classes):
            logits[c] += np.float64(answers.heights[p]) * readout[place + c]


@compiled
def read_out_all(
    start: int, stop: int, sizes: Sizes, readout: Floats, answers: Answers, out: Floats
) -> None:
    """`read_out` of the samples start … stop − 1 of one learner, to (B, K)."""
    logits = np.empty(sizes.classes, np.float64)
    for row in range(start, stop):
        count = answers.found[row]
        read_out(row * sizes.room, count, 0, sizes.classes, readout, answers, logits)
        for c in range(sizes.classes):
            out[row * sizes.classes + c] = logits[c]


@compiled
def respond(
    start: int, stop: int, sizes: Sizes, stack: Stack, samples: Samples, answers: Answers
) -> None:
    """The losses of the samples start … stop − 1, and their slopes; none where found is −1.

    Equation: L = Σ over samples of share · (w₀ CE + w₁ τ² KL_hidden + w₂ τ² KL_logits).
    """
    classes = sizes.classes
    logits, plain = np.empty(classes, np.float64), np.empty(classes, np.float64)
    student, teacher = np.empty(classes, np.float64), np.empty(classes, np.float64)
    memory = np.zeros(sizes.neurons, np.float32)
    errors, slopes, sums = answers.errors, answers.slopes, answers.sums
    for row in range(start, stop):
        count = answers.found[row]
        if count < 0:
            continue
        mine, at, error = samples.owner[row], row * sizes.room, row * classes
        begin, loss, total = mine * sizes.neurons, mine * 6, row * 5
        read_out(at, count, begin, classes, stack.readout, answers, logits)
        softened(logits, 0, classes, 1.0, plain)
        best = 0
        for c in range(1, classes):
            if logits[c] > logits[best]:
                best = c
        label = samples.labels[row]
        weight = stack.losses[loss + WEIGHT_CE]
        for c in range(classes):
            errors[error + c] = samples.share[row] * weight * (math.exp(plain[c]) - (c == label))
        sums[total + CE] = -plain[label]
        sums[total + RIGHT] = best == label
        sums[total + LOGITS] = 0
        sums[total + HIDDEN] = 0
        temperature = stack.losses[loss + TEMPERATURE]
        reverse = stack.losses[loss + REVERSED] != 0
        weight = stack.losses[loss + WEIGHT_LOGITS]
        if weight != 0:
            softened(logits, 0, classes, temperature, student)
            softened(samples.taught, error, classes, temperature, teacher)
            scale = samples.share[row] * weight * temperature
            sums[total + LOGITS] = weight * temperature**2
            sums[total + LOGITS] *= logit_divergence(
                student, teacher, classes, reverse, scale, errors, error
            )
        for p in range(at, at + count):
            slope = np.float32(0)
            place = (begin + answers.which[p]) * classes
            for c in range(classes):
                slope += errors[error + c] * stack.readout[place + c]
            slopes[p] = slope
        weight = stack.losses[loss + WEIGHT_HIDDEN]
        if weight != 0:
            scale = samples.share[row] * weight * temperature
            sums[total + HIDDEN] = weight * temperature**2
            sums[total + HIDDEN] *= hidden_divergence(
                answers.which,
                answers.heights,
                at,
                count,
                stack.rank,
                begin,
                stack.losses[loss + CHOSEN],
                samples.taught_which,
                samples.taught_heights,
                row * sizes.taught_room,
                sizes.taught_room,
                memory,
                temperature,
                reverse,
                scale,
                slopes,
            )
        first = row * sizes.neurons
        for p in range(at, at + count):
            if not answers.activation[first + answers.which[p]] > 0:
                slopes[p] = 0  # it is active by excitation alone: max(a, 0) is flat
        sums[total + LOSS] = (
            stack.losses[loss + WEIGHT_CE] * sums[total + CE]
            + sums[total + LOGITS]
            + sums[total + HIDDEN]
        )
