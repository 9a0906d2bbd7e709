"""What a frozen SDMLP layer answers to many samples: the active neurons and the logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neurokd.continual.sparse_arrays import Answers, Floats, Integers, Sizes
from neurokd.continual.sparse_respond import compete, read_out_all
from neurokd.neurons.threads import in_threads

CHUNK = 256
"""Samples that are answered to at once."""


class Activity(NamedTuple):
    """Logits (B, K) of the samples from ``start`` on; for each active neuron its sample, counted
    from 0, its index and its activation, sorted by sample and index."""

    start: int
    logits: Tensor
    samples: Integers
    neurons: Integers
    heights: Floats


def room_for(neurons: int, winners: int) -> int:
    """Active neurons of a sample up to which the sparse form is faster than the dense one."""
    return min(neurons, max(neurons // 8, 4 * winners))


def new_answers(rows: int, sizes: Sizes) -> Answers:
    """Arrays for the answers to ``rows`` samples."""
    pairs = rows * sizes.room
    return Answers(
        activation=np.empty(rows * sizes.neurons, np.float32),
        inhibition=np.empty(rows, np.float32),
        found=np.empty(rows, np.int64),
        which=np.empty(pairs, np.int32),
        heights=np.empty(pairs, np.float32),
        slopes=np.empty(pairs, np.float32),
        errors=np.empty(rows * sizes.classes, np.float32),
        sums=np.zeros(rows * 5, np.float64),
    )


def activity(
    weights: Tensor,
    readout: Tensor,
    gains: Tensor,
    winners: int,
    x: Tensor,
    answers: Answers | None = None,
) -> Iterator[Activity]:
    """Answers of W (r, d), Vᵀ (r, K), g (r,) to the normalised samples x (N, d), in chunks.

    ``answers`` are arrays to work in: as many samples as they hold are a chunk.
    """
    neurons, inputs = weights.shape
    classes = readout.shape[1]
    sizes = Sizes(inputs, neurons, classes, winners, room_for(neurons, winners), 1)
    answers = answers or new_answers(min(CHUNK, len(x)), sizes)
    chunk = len(answers.found)
    owner = np.zeros(chunk, np.int64)
    for start in range(0, len(x), chunk):
        part = x[start : start + chunk]
        rows = len(part)
        a = torch.from_numpy(answers.activation[: rows * neurons]).view(rows, neurons)
        torch.mm(part, weights.t(), out=a)

        def work(first: int, last: int) -> None:
            compete(first, last, sizes, gains.numpy(), owner, answers)

        in_threads(rows, 1, work)
        found = answers.found[:rows]
        if (found < 0).any():
            bound = torch.from_numpy(answers.inhibition[:rows])
            h = heights_of(a, gains, bound)
            logits = h @ readout
            samples, active = (index.numpy() for index in h.nonzero(as_tuple=True))
            heights = h.numpy()[samples, active]
        else:
            logits = torch.empty(rows, classes)
            read_out_all(
                0, rows, sizes, readout.numpy().ravel(), answers, logits.numpy().reshape(-1)
            )
            samples = np.repeat(np.arange(rows), found)
            there = np.arange(sizes.room) < found[:, None]
            listed = rows * sizes.room
            active = answers.which[:listed].reshape(rows, -1)[there].astype(np.int64)
            heights = answers.heights[:listed].reshape(rows, -1)[there]
        yield Activity(start, logits, samples, active, heights)


def heights_of(a: Tensor, gains: Tensor, inhibition: Tensor) -> Tensor:
    """h = max(max(a, 0) − g I, 0): a (B, r), g (r,), I (B,) → (B, r)."""
    return a.clamp(min=0).sub_(gains * inhibition[:, None]).clamp_(min=0)
