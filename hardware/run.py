"""`Run`: what a runtime did with a network and its input, in chip time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import UsageError
from neurokd.hardware.counts import Counts

RECORDABLE = ("u", "v", "sigma", "act", "residue", "error", "spikes")
"""State by name, each of the populations that have it; "spikes" are the messages of any of them."""


def checked_record(where: str, record: Iterable[str]) -> tuple[str, ...]:
    """What is asked for, in the order of `RECORDABLE`; `UsageError` for anything else."""
    named = isinstance(record, Iterable) and not isinstance(record, str)
    wanted = tuple(record) if named else ()
    if not named or not set(wanted) <= set(RECORDABLE):
        raise UsageError(
            "this cannot be recorded",
            where=where,
            expected=f"a collection of {', '.join(RECORDABLE)}",
            found=repr(wanted if named else record),
        )
    return tuple(name for name in RECORDABLE if name in wanted)


@dataclass(frozen=True)
class Overflow:
    """A variable that left its range at a chip step, in ``neurons`` (sample, neuron) pairs.

    ``variable``: "u" (left 24 bits and was wrapped), "v" (saturated), "a" (what projections
    delivered to the population at this step was wrapped, at 24 bits by a convolution, else at 32),
    "threshold" (a population that must not spike did, as after more steps than it was proven for),
    "sigma", "act", "delta", "error" (of sigma and delta neurons: left 32 bits and was wrapped, or
    came to −2³¹, whose magnitude 32 bits do not hold; "delta" is the change to be sent).
    """

    population: str
    variable: str
    step: int
    neurons: int


@dataclass(frozen=True)
class Run:
    """Outputs, records and counts of one simulation; the same from every runtime.

    ``output_is_spikes``: the output is messages, to be summed over time (spikes, or the changes
    that delta neurons send); otherwise it is a value held, v of an accumulator or σ.

    Shapes: ``output`` (T, B, *out) int32; ``records[population][variable]`` (T, B, *shape) int32.
    Index 0 of T is chip step 1; nothing is shifted.
    """

    backend: str
    output: NDArray[np.int32]
    records: Mapping[str, Mapping[str, NDArray[np.int32]]]
    counts: Counts
    depths: Mapping[str, int]
    latency: int
    output_is_spikes: bool
    overflows: tuple[Overflow, ...] = field(default=())

    def aligned(self, name: str) -> dict[str, NDArray[np.int32]]:
        """The records of a population without the steps before its first input arrived."""
        if name not in self.records:
            raise UsageError(
                "this population was not recorded",
                where="run",
                expected=", ".join(self.records) or "a run with record=…",
                found=repr(name),
            )
        depth = self.depths[name]
        return {variable: values[depth:] for variable, values in self.records[name].items()}

    @property
    def classes(self) -> NDArray[np.int64]:
        """(B,) the class of each sample: argmax of the last v or σ, or of the sum of messages."""
        scores = self.output.sum(axis=0) if self.output_is_spikes else self.output[-1]
        best: NDArray[np.int64] = np.argmax(scores.reshape(scores.shape[0], -1), axis=1)
        return best
