"""Sparse synapses by events: the synapses of the neurons that sent, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_compiler import compiled
from neurokd.hardware.kernel_events import Arrivals, Events


@dataclass(frozen=True)
class SparsePort:
    """A sparse projection, or its synapses of one delay, as `deliver_sparse` takes them.

    The synapses of source i are ``start[i]`` … ``start[i + 1]`` − 1.
    """

    start: NDArray[np.int64]
    target: NDArray[np.int32]
    weight: NDArray[np.int32]
    shift: int
    lag: int

    @classmethod
    def of(
        cls,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        weight: NDArray[np.int32],
        sources: int,
        exponent: int,
        delay: int,
    ) -> SparsePort:
        """Of synapses from ``columns`` to ``rows``, both in the order of the kernels."""
        order = np.argsort(columns, kind="stable")
        per_source = np.bincount(columns, minlength=sources)
        return cls(
            start=np.concatenate([[0], np.cumsum(per_source)]).astype(np.int64),
            target=np.ascontiguousarray(rows[order], dtype=np.int32),
            weight=np.ascontiguousarray(weight[order] << max(exponent, 0), dtype=np.int32),
            shift=max(-exponent, 0),
            lag=delay + 1,
        )

    def deliver(self, events: Events, first: int, last: int, arrivals: Arrivals) -> None:
        """Add what the events of steps ``first`` … ``last`` − 1 deliver to what arrives later."""
        deliver_sparse(
            events.index,
            events.count,
            events.row,
            events.value,
            first,
            last,
            self.lag,
            self.start,
            self.target,
            self.weight,
            self.shift,
            arrivals.a,
            arrivals.arrived,
        )


@compiled
def deliver_sparse(
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    value: NDArray[np.int32],
    first: int,
    last: int,
    lag: int,
    start: NDArray[np.int64],
    target: NDArray[np.int32],
    weight: NDArray[np.int32],
    shift: int,
    a: NDArray[np.int32],
    arrived: NDArray[np.uint8],
) -> None:
    """Add what the events of steps ``first`` … ``last`` − 1 deliver ``lag`` steps later.

    Equation: a[b, t + lag] += Σ value · weight >> shift, with arithmetic floor.

    Exact where Σ |w s| of every target, of this and all other projections into it, is below 2³¹.

    Shapes: ``a`` (B, T, targets).
    """
    graded = value.size > 0
    total = np.empty(a.shape[2] if shift > 0 else 0, np.int32)
    for b in range(a.shape[0]):
        for t in range(first, min(last, a.shape[1] - lag)):
            r = row[b, t]
            if count[b, r] == 0:
                continue
            out = a[b, t + lag]
            if arrived[b, t + lag] == 0:
                out[:] = 0
                arrived[b, t + lag] = 1
            if shift > 0:
                total[:] = 0
            for e in range(count[b, r]):
                source = index[b, r, e]
                sent = value[b, r, e] if graded else np.int32(1)
                for k in range(start[source], start[source + 1]):
                    if shift > 0:
                        total[target[k]] += weight[k] * sent
                    else:
                        out[target[k]] += weight[k] * sent
            if shift > 0:
                for j in range(total.size):
                    out[j] += total[j] >> shift
