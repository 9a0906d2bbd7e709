"""The flat arrays that the kernels of a sparse step share."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

Floats = NDArray[Any]
Integers = NDArray[Any]

LOSS, CE, HIDDEN, LOGITS, RIGHT = range(5)
"""Columns of ``sums``: the loss, its terms (CE without its factor, as 1 for ``RIGHT``)."""
WEIGHT_CE, WEIGHT_HIDDEN, WEIGHT_LOGITS, TEMPERATURE, REVERSED, CHOSEN = range(6)
"""Columns of ``losses``: factors, τ, 1 for KL(student‖teacher), and n, the neurons distilled."""


class Sizes(NamedTuple):
    """d, r, K and k of every learner; places of a sample's active neurons, and of its teacher's."""

    inputs: int
    neurons: int
    classes: int
    winners: int
    room: int
    taught_room: int


class Stack(NamedTuple):
    """What S learners are: W (S, r, d), Vᵀ (S, r, K), g and c (S, r), and their losses (S, 6).

    ``rank`` (S, r) is a neuron's place among those that are distilled, or −1.
    """

    weights: Floats
    readout: Floats
    gains: Floats
    counts: Integers
    losses: Floats
    rank: Integers


class Samples(NamedTuple):
    """B samples of all learners: x (B, d), whose they are, and 1 / the number of that batch.

    ``taught`` (B, K) are the teacher's logits; its active neurons among those distilled are listed
    by rank in ``taught_which`` (B, taught_room), which ends with −1, with their activations.
    """

    x: Floats
    owner: Integers
    labels: Integers
    share: Floats
    taught: Floats
    taught_which: Integers
    taught_heights: Floats


class Answers(NamedTuple):
    """What the samples cause: a (B, r) and I (B,); which neurons are active, h and ∂L/∂a of each
    (B, room), and how many, −1 if more than ``room``; ∂L/∂z (B, K); losses (B, 5).
    """

    activation: Floats
    inhibition: Floats
    found: Integers
    which: Integers
    heights: Floats
    slopes: Floats
    errors: Floats
    sums: Floats


class Touched(NamedTuple):
    """The U rows that change: their neuron i + s r, and the pairs of each with samples.

    Pairs first[u] … first[u + 1] − 1 are row u's: the sample, ∂L/∂a and h.
    ``tally`` (S, r) is scratch, and zero between the steps.
    """

    neuron: Integers
    first: Integers
    sample: Integers
    slope: Floats
    height: Floats
    tally: Integers


class Gradients(NamedTuple):
    """∂L/∂W (U, d) and ∂L/∂Vᵀ (U, K) of the rows that change, and the sum of squares of each."""

    weights: Floats
    readout: Floats
    squares: Floats
