"""Dense synapses by events: the weight rows of the neurons that sent, added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_compiler import (
    LANES,
    add_four_vectors,
    add_scaled_vector,
    add_vector,
    compiled,
)
from neurokd.hardware.kernel_events import Arrivals, Events
from neurokd.hardware.kernel_weights import common_shift, narrowest, padded_to_lanes

_TILE = 256
"""Targets summed at a time: the weights to them stay in the second-level cache."""
_NARROW_LIMIT = (1 << 15) - 1
_SMALLEST_GROUP = 16
"""Below so many additions between two emptyings int32 is as fast as int16."""


@dataclass(frozen=True)
class DensePort:
    """A dense projection, or its synapses of one delay, as `deliver_dense` takes them.

    ``lag``: steps from a message to its arrival, the delay + 1.
    """

    weight: NDArray[Any]
    width: int
    shift: int
    lag: int
    group: int
    narrow: type[np.signedinteger[Any]]

    @classmethod
    def of(cls, weight: NDArray[np.int32], exponent: int, delay: int, binary: bool) -> DensePort:
        """Of ``weight`` (targets, sources), both in the order of the kernels.

        The power of two that all weights share is taken out and joins the exponent. int16 takes up
        ``group`` spikes of the largest weight; payloads are summed in int32.
        """
        factor = common_shift(weight)
        rows = padded_to_lanes((weight >> factor).T)
        largest = int(np.abs(rows.astype(np.int64)).max(initial=1))
        small = binary and largest <= _NARROW_LIMIT // _SMALLEST_GROUP
        return cls(
            weight=narrowest(rows).reshape(-1),
            width=rows.shape[1],
            shift=factor + exponent,
            lag=delay + 1,
            group=_NARROW_LIMIT // largest if small else np.iinfo(np.int32).max,
            narrow=np.int16 if small else np.int32,
        )

    def deliver(self, events: Events, first: int, last: int, arrivals: Arrivals) -> None:
        """Add what the events of steps ``first`` … ``last`` − 1 deliver to what arrives later."""
        deliver_dense(
            events.index,
            events.count,
            events.row,
            events.value,
            first,
            last,
            self.lag,
            self.weight,
            self.width,
            np.empty(_TILE, dtype=self.narrow),
            self.group,
            self.shift,
            arrivals.a,
            arrivals.arrived,
        )


@compiled
def deliver_dense(
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    value: NDArray[np.int32],
    first: int,
    last: int,
    lag: int,
    weight: NDArray[Any],
    width: int,
    narrow: NDArray[Any],
    group: int,
    shift: int,
    a: NDArray[np.int32],
    arrived: NDArray[np.uint8],
) -> None:
    """What the events of steps ``first`` … ``last`` − 1 deliver ``lag`` steps later.

    Equation: a[b, t + lag] = (Σ value · weight[index]) << shift, with arithmetic floor where
    shift < 0; added to what is there where ``arrived`` (see `Arrivals`).

    Exact where |Σ w s| < 2³¹, before and after the shift, and ``narrow`` cannot overflow: it takes
    up at most ``group`` events before it is emptied into 32 bits, so that group · max |w| · max |s|
    must be below 2¹⁵ for int16 and 2³¹ for int32. Wrap-around within a vector's additions is
    harmless, since the sum they arrive at is in range.

    Shapes: ``weight`` flat, a row of ``width`` targets (a multiple of `LANES`) for each source;
    ``narrow`` (`_TILE`,); ``a`` (B, T, targets).
    """
    targets = a.shape[2]
    graded = value.size > 0
    total = np.empty(_TILE, np.int32)
    for low in range(0, targets, _TILE):
        padded = min(_TILE, width - low)
        wanted = min(_TILE, targets - low)
        for b in range(a.shape[0]):
            for t in range(first, min(last, a.shape[1] - lag)):
                r = row[b, t]
                events = count[b, r]
                if events == 0:
                    continue
                if t == first or r != row[b, t - 1]:
                    total[:padded] = 0
                    start = 0
                    while start < events:
                        stop = min(events, start + group)
                        narrow[:padded] = 0
                        if graded:
                            _add_scaled(
                                index[b, r],
                                value[b, r],
                                start,
                                stop,
                                weight,
                                width,
                                low,
                                padded,
                                narrow,
                            )
                        else:
                            _add(index[b, r], start, stop, weight, width, low, padded, narrow)
                        for j in range(padded):
                            total[j] += narrow[j]
                        start = stop
                out = a[b, t + lag, low : low + wanted]
                add = arrived[b, t + lag] != 0
                if low + _TILE >= targets:
                    arrived[b, t + lag] = 1
                if shift >= 0:
                    # a product is computed in 32 bits, a shift by a variable in 64
                    factor = np.int32(1 << shift)
                    for j in range(wanted):
                        shifted = np.int32(total[j] * factor)
                        out[j] = np.int32(out[j] + shifted) if add else shifted
                else:
                    for j in range(wanted):
                        shifted = np.int32(total[j] >> -shift)
                        out[j] = np.int32(out[j] + shifted) if add else shifted


@compiled
def _add(
    index: NDArray[np.int32],
    start: int,
    stop: int,
    weight: NDArray[Any],
    width: int,
    low: int,
    padded: int,
    narrow: NDArray[Any],
) -> None:
    fours = start + (stop - start) // 4 * 4
    for e in range(start, fours, 4):
        w0 = index[e] * width + low
        w1 = index[e + 1] * width + low
        w2 = index[e + 2] * width + low
        w3 = index[e + 3] * width + low
        for j in range(0, padded, LANES):
            add_four_vectors(narrow, j, weight, w0 + j, w1 + j, w2 + j, w3 + j)
    for e in range(fours, stop):
        w0 = index[e] * width + low
        for j in range(0, padded, LANES):
            add_vector(narrow, j, weight, w0 + j)


@compiled
def _add_scaled(
    index: NDArray[np.int32],
    value: NDArray[np.int32],
    start: int,
    stop: int,
    weight: NDArray[Any],
    width: int,
    low: int,
    padded: int,
    narrow: NDArray[Any],
) -> None:
    for e in range(start, stop):
        w0 = index[e] * width + low
        sent = value[e]
        for j in range(0, padded, LANES):
            add_scaled_vector(narrow, j, weight, w0 + j, sent)
