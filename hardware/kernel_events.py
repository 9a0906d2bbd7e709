"""Events: the non-zero messages of each sample and step as lists of neurons, for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_compiler import MASK_BITS, compiled, lowest_bit, nonzero_mask


@dataclass(frozen=True)
class Events:
    """Messages of one population, in lists that the kernels fill and read.

    At step t sample b sends from the neurons ``index[b, r, : count[b, r]]``, r = ``row[b, t]``:
    a step whose messages are those of the step before shares its row, and what they deliver is
    computed once. ``value`` has the payloads; of binary spikes it is empty.

    Shapes: ``index`` (B, T, neurons), ``count`` and ``row`` (B, T); all int32.
    """

    index: NDArray[np.int32]
    count: NDArray[np.int32]
    row: NDArray[np.int32]
    value: NDArray[np.int32]

    @classmethod
    def empty(cls, samples: int, steps: int, neurons: int, graded: bool) -> Events:
        """Lists for a population, not filled yet."""
        shape = (samples, steps, neurons)
        return cls(
            index=np.empty(shape, dtype=np.int32),
            count=np.empty((samples, steps), dtype=np.int32),
            row=np.empty((samples, steps), dtype=np.int32),
            value=np.empty(shape if graded else (0, 0, 0), dtype=np.int32),
        )

    @property
    def graded(self) -> bool:
        """Whether messages have a payload."""
        return self.value.size > 0


@dataclass(frozen=True)
class Arrivals:
    """Synaptic input of a population: what has been delivered so far.

    Nothing has arrived in sample b at step t where ``arrived[b, t]`` is 0; ``a[b, t]`` is not set
    there, so that steps without messages cost nothing.

    Shapes: ``a`` (B, T, neurons) int32, ``arrived`` (B, T) bytes.
    """

    a: NDArray[np.int32]
    arrived: NDArray[np.uint8]

    @classmethod
    def none(cls, samples: int, steps: int, neurons: int) -> Arrivals:
        """Nothing delivered yet."""
        return cls(
            a=np.empty((samples, steps, neurons), dtype=np.int32),
            arrived=np.zeros((samples, steps), dtype=np.uint8),
        )


@compiled
def list_bytes(
    messages: NDArray[Any],
    first: int,
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    value: NDArray[np.int32],
    totals: NDArray[np.int64],
) -> None:
    """List the events of ``messages`` (T, samples, neurons), from sample ``first`` on.

    ``totals`` (neurons,) is increased by the messages of each neuron.
    """
    neurons = messages.shape[2]
    whole = neurons - neurons % MASK_BITS
    graded = value.size > 0
    for b in range(index.shape[0]):
        for t in range(index.shape[1]):
            line = messages[t, first + b]
            if t > 0 and _equal(line, messages[t - 1, first + b]):
                _repeat(b, t, index, count, row, totals)
                continue
            listed = 0
            for start in range(0, whole, MASK_BITS):
                mask = nonzero_mask(line, start)
                while mask != 0:
                    index[b, t, listed] = start + lowest_bit(mask)
                    listed += 1
                    mask &= mask - np.uint64(1)
            for neuron in range(whole, neurons):
                if line[neuron] != 0:
                    index[b, t, listed] = neuron
                    listed += 1
            _finish(b, t, listed, line, index, count, row, value, totals, graded)


@compiled
def list_integers(
    messages: NDArray[Any],
    first: int,
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    value: NDArray[np.int32],
    totals: NDArray[np.int64],
) -> None:
    """`list_bytes` of messages that need more than a byte, or a sign."""
    neurons = messages.shape[2]
    graded = value.size > 0
    for b in range(index.shape[0]):
        for t in range(index.shape[1]):
            line = messages[t, first + b]
            if t > 0 and _equal(line, messages[t - 1, first + b]):
                _repeat(b, t, index, count, row, totals)
                continue
            listed = 0
            for neuron in range(neurons):
                index[b, t, listed] = neuron
                listed += line[neuron] != 0
            _finish(b, t, listed, line, index, count, row, value, totals, graded)


@compiled
def _equal(left: NDArray[Any], right: NDArray[Any]) -> bool:
    for i in range(left.size):
        if left[i] != right[i]:
            return False
    return True


@compiled
def _repeat(
    b: int,
    t: int,
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    totals: NDArray[np.int64],
) -> None:
    """Step t sends what the step before did: point to its list instead of writing it again."""
    same = row[b, t - 1]
    row[b, t] = same
    count[b, t] = 0
    for k in range(count[b, same]):
        totals[index[b, same, k]] += 1


@compiled
def _finish(
    b: int,
    t: int,
    listed: int,
    line: NDArray[Any],
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    value: NDArray[np.int32],
    totals: NDArray[np.int64],
    graded: bool,
) -> None:
    row[b, t] = t
    count[b, t] = listed
    for k in range(listed):
        totals[index[b, t, k]] += 1
        if graded:
            value[b, t, k] = line[index[b, t, k]]


@compiled
def spread(
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    value: NDArray[np.int32],
    order: NDArray[np.int64],
    first: int,
    messages: NDArray[np.int32],
) -> None:
    """Write events into ``messages`` (T, samples, neurons), zero before, from sample ``first`` on.

    ``order`` (neurons,): the neuron of the population, in C order, that an index stands for.
    """
    graded = value.size > 0
    for b in range(index.shape[0]):
        for t in range(index.shape[1]):
            r = row[b, t]
            for k in range(count[b, r]):
                sent = value[b, r, k] if graded else 1
                messages[t, first + b, order[index[b, r, k]]] = sent
