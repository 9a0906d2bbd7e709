"""Losses of one sample and their slopes, where nearly all activations are zero.

Each gives the divergence without its factor τ², and slopes of τ² · divergence times ``scale``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurokd.continual.sparse_arrays import Floats, Integers
from neurokd.hardware.kernel_compiler import compiled


@compiled
def softened(values: Floats, start: int, size: int, temperature: float, out: Floats) -> None:
    """out = log softmax(values[start : start + size] / temperature)."""
    most = np.float64(values[start])
    for c in range(1, size):
        most = max(most, np.float64(values[start + c]))
    total = 0.0
    for c in range(size):
        out[c] = (values[start + c] - most) / temperature
        total += math.exp(out[c])
    total = math.log(total)
    for c in range(size):
        out[c] -= total


@compiled
def logit_divergence(
    student: Floats, teacher: Floats, size: int, reverse: bool, scale: float, out: Floats, at: int
) -> Any:
    """KL(teacher‖student), or the reverse, of two log softmaxes; slopes add to out[at :].

    Equation: τ² ∂KL(T‖S)/∂z = τ (p_S − p_T); τ² ∂KL(S‖T)/∂z = τ p_S (log p_S − log p_T − KL).
    ``scale`` includes the τ that is left.
    """
    distance = 0.0
    for c in range(size):
        if reverse:
            distance += math.exp(student[c]) * (student[c] - teacher[c])
        else:
            distance += math.exp(teacher[c]) * (teacher[c] - student[c])
    for c in range(size):
        if reverse:
            slope = math.exp(student[c]) * (student[c] - teacher[c] - distance)
        else:
            slope = math.exp(student[c]) - math.exp(teacher[c])
        out[at + c] += scale * slope
    return distance


@compiled
def hidden_divergence(
    which: Integers,
    heights: Floats,
    at: int,
    count: int,
    rank: Integers,
    begin: int,
    chosen: float,
    taught_which: Integers,
    taught_heights: Floats,
    taught_at: int,
    taught_room: int,
    memory: Floats,
    temperature: float,
    reverse: bool,
    scale: float,
    slopes: Floats,
) -> Any:
    """`logit_divergence` of activations over ``chosen`` neurons, of which a few are not zero.

    Equation: Z = log(n + Σ_active (exp(h/τ) − 1)), log p = h/τ − Z, and all the others are −Z.
    Slopes add to those of the student's active neurons. ``memory`` is zero before and after.
    """
    own, other = chosen, chosen
    for p in range(at, at + count):
        if rank[begin + which[p]] >= 0:
            own += math.expm1(heights[p] / temperature)
    last = taught_at
    while last < taught_at + taught_room and taught_which[last] >= 0:
        memory[taught_which[last]] = taught_heights[last]
        other += math.expm1(taught_heights[last] / temperature)
        last += 1
    own, other = math.log(own), math.log(other)
    distance = other - own if reverse else own - other
    for q in range(taught_at, last):
        height = taught_heights[q] / temperature
        if reverse:
            distance -= math.exp(-own) * height
        else:
            distance += math.exp(height - other) * height
    for p in range(at, at + count):
        place = rank[begin + which[p]]
        if place >= 0:
            height, taught = heights[p] / temperature, memory[place] / temperature
            if reverse:
                distance += math.exp(height - own) * height
                distance -= math.exp(-own) * math.expm1(height) * taught
            else:
                distance -= math.exp(taught - other) * height
    for p in range(at, at + count):
        place = rank[begin + which[p]]
        if place >= 0:
            student = heights[p] / temperature - own
            teacher = memory[place] / temperature - other
            if reverse:
                slopes[p] += scale * math.exp(student) * (student - teacher - distance)
            else:
                slopes[p] += scale * (math.exp(student) - math.exp(teacher))
    for q in range(taught_at, last):
        memory[taught_which[q]] = 0
    return distance
