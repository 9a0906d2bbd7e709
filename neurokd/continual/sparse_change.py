"""What active neurons change: gradients of their rows, and the step of those; for one core.

A stack of learners steps together. What a row gets does not depend on the range in which it is
computed, so that threads may share the rows out.
"""

from __future__ import annotations

import math

import numpy as np

from neurokd.continual.sparse_arrays import (
    Answers,
    Floats,
    Gradients,
    Integers,
    Sizes,
    Stack,
    Touched,
)
from neurokd.continual.sparse_vectors import LANES, descend, sum_of_squares
from neurokd.hardware.kernel_compiler import compiled
from neurokd.neurons.event_vectors import WIDTH, add_scaled_rows


@compiled
def gather(
    start: int, stop: int, sizes: Sizes, owner: Integers, answers: Answers, rows: int, to: Touched
) -> int:
    """The rows that the samples start … stop − 1 touch, and the pairs of each by sample.

    Of the U rows that are found, the first ``rows`` are there already. Returns U.
    """
    count = rows
    for u in range(rows):
        to.tally[to.neuron[u]] = u + 1  # the row, plus 1
        to.first[u + 1] = 0
    for row in range(start, stop):
        begin = owner[row] * sizes.neurons
        for p in range(row * sizes.room, row * sizes.room + answers.found[row]):
            neuron = begin + answers.which[p]
            if to.tally[neuron] == 0:
                to.neuron[count] = neuron
                to.first[count + 1] = 0
                count += 1
                to.tally[neuron] = count
            to.first[to.tally[neuron]] += 1
    to.first[0] = 0
    for u in range(count):
        to.first[u + 1] += to.first[u]
    for row in range(start, stop):
        begin = owner[row] * sizes.neurons
        for p in range(row * sizes.room, row * sizes.room + answers.found[row]):
            u = to.tally[begin + answers.which[p]] - 1
            to.sample[to.first[u]] = row
            to.slope[to.first[u]] = answers.slopes[p]
            to.height[to.first[u]] = answers.heights[p]
            to.first[u] += 1
    for u in range(count, 0, -1):  # each is the end of its row now, the beginning of the next one
        to.first[u] = to.first[u - 1]
    to.first[0] = 0
    for u in range(count):
        to.tally[to.neuron[u]] = 0
    return count


@compiled
def differentiate(
    start: int,
    stop: int,
    sizes: Sizes,
    x: Floats,
    answers: Answers,
    rows: int,
    touched: Touched,
    gradients: Gradients,
) -> None:
    """∂L/∂W and ∂L/∂Vᵀ of the rows start … stop − 1; the first ``rows`` add to what is there."""
    inputs, classes = sizes.inputs, sizes.classes
    wide, whole = inputs // WIDTH * WIDTH, inputs // LANES * LANES
    weights, readout = gradients.weights, gradients.readout
    for u in range(start, stop):
        at, out = u * inputs, u * classes
        first, last = touched.first[u], touched.first[u + 1]
        if u >= rows:
            weights[at : at + inputs] = 0
        for column in range(0, wide, WIDTH):
            add_scaled_rows(
                weights,
                at + column,
                x,
                column,
                inputs,
                touched.sample,
                touched.slope,
                first,
                last,
            )
        for pair in range(first, last):
            given, slope = touched.sample[pair] * inputs, touched.slope[pair]
            for j in range(wide, inputs):
                weights[at + j] += slope * x[given + j]
        readout[out : out + classes] = 0
        for pair in range(first, last):
            error, height = touched.sample[pair] * classes, touched.height[pair]
            for c in range(classes):
                readout[out + c] += height * answers.errors[error + c]
        total = np.float64(sum_of_squares(weights, at, whole))
        for j in range(at + whole, at + inputs):
            total += weights[j] * weights[j]
        for j in range(out, out + classes):
            total += readout[j] * readout[j]
        gradients.squares[u] = total


@compiled
def clip_factors(
    count: int, neurons: int, limit: Floats, touched: Touched, squares: Floats, out: Floats
) -> None:
    """out[s] = min(1, limit / (‖gradient of learner s‖ + 1e-6)); 1 where the limit is 0."""
    out[:] = 0
    for u in range(count):
        out[touched.neuron[u] // neurons] += squares[u]
    for s in range(out.size):
        norm = math.sqrt(out[s])
        out[s] = min(1.0, limit[s] / (norm + 1e-6)) if limit[s] > 0 else 1.0


@compiled
def update(
    start: int,
    stop: int,
    sizes: Sizes,
    stack: Stack,
    touched: Touched,
    gradients: Gradients,
    step: Floats,
    switch: Integers,
) -> None:
    """SGD, clamp, unit length, counters and gains of the rows start … stop − 1.

    ``step[s]`` is a learner's rate times its clip factor, ``switch[s]`` its N.
    """
    inputs, classes = sizes.inputs, sizes.classes
    whole = inputs // LANES * LANES
    zero, one = np.float32(0), np.float32(1)
    weights, readout = stack.weights, stack.readout
    for u in range(start, stop):
        neuron = touched.neuron[u]
        mine = neuron // sizes.neurons
        rate = np.float32(step[mine])
        at, given = neuron * inputs, u * inputs
        total = descend(weights, at, gradients.weights, given, whole, rate)
        for j in range(whole, inputs):
            weights[at + j] = max(weights[at + j] - rate * gradients.weights[given + j], zero)
            total += weights[at + j] * weights[at + j]
        inverse = one / max(np.float32(math.sqrt(total)), np.float32(1e-12))
        for j in range(at, at + inputs):
            weights[j] *= inverse
        at, given = neuron * classes, u * classes
        for c in range(classes):
            readout[at + c] = max(readout[at + c] - rate * gradients.readout[given + c], zero)
        stack.counts[neuron] += touched.first[u + 1] - touched.first[u]
        share = np.float32(stack.counts[neuron]) / np.float32(switch[mine])
        stack.gains[neuron] = min(max(np.float32(2) * share - one, -one), one)
