"""Convolution by events: the slices of the kernel that a message reaches, added where it sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.conv_projection import ConvProjection
from neurokd.hardware.kernel_compiler import (
    LANES,
    add_four_vectors,
    add_scaled_vector,
    add_vector,
    compiled,
)
from neurokd.hardware.kernel_events import Arrivals, Events
from neurokd.hardware.kernel_weights import common_shift, narrowest

_NARROW_LIMIT = (1 << 15) - 1


@dataclass(frozen=True)
class ConvPort:
    """A convolution as `deliver_conv` takes it.

    The target is summed in a frame (rows, columns, channels) with a margin for what falls beside
    it. A source neuron sits at a *place* (group and position), which has a ``base``, an offset into
    the frame, and a ``phase``, its position within the stride: from there it reaches the frame at
    ``base + offsets[u]``, u = ``unit_start[phase]`` … ``unit_start[phase + 1]`` − 1, a unit being
    ``lanes`` channels of one tap. Its weights lie one after the other in ``weight``, those of
    channel 0 in a phase from ``weight_start[phase]`` on, and zeros at the end from ``zeros`` on.
    """

    place: NDArray[np.int32]
    channel: NDArray[np.int32]
    base: NDArray[np.int32]
    phase: NDArray[np.int32]
    unit_start: NDArray[np.int32]
    offsets: NDArray[np.int32]
    weight_start: NDArray[np.int32]
    weight: NDArray[Any]
    zeros: int
    lanes: int
    frame: tuple[int, int, int]
    margin: tuple[int, int]
    target: tuple[int, int, int]
    shift: int
    narrow: type[np.signedinteger[Any]]

    lag = 1

    @classmethod
    def of(
        cls,
        conv: ConvProjection,
        source: tuple[int, int, int],
        order: NDArray[np.int64],
        binary: bool,
    ) -> ConvPort:
        """Of a convolution whose source neurons the kernels keep in ``order``."""
        outs, ins = conv.weight.shape[0] // conv.groups, conv.weight.shape[1]
        lanes = LANES if conv.groups == 1 or outs % LANES == 0 else 1
        stacked = -(-outs // lanes) * lanes
        target = conv.output_shape(source)
        factor = common_shift(conv.effective_weight)
        weight = conv.effective_weight >> factor
        axes = [_axis(conv, i, source[1 + i], target[1 + i]) for i in range(2)]
        (top, rows), (left, columns) = ((axis.margin, axis.size) for axis in axes)
        depth = stacked * conv.groups

        c, y, x = np.unravel_index(order, source)
        group = c // ins
        places = (conv.groups, *source[1:])
        at_group, at_y, at_x = np.unravel_index(np.arange(np.prod(places)), places)
        base_y, base_x = axes[0].base[at_y], axes[1].base[at_x]
        base = (base_y * columns + base_x) * depth + at_group * stacked
        phases = conv.stride[1]
        phase = axes[0].phase[at_y] * phases + axes[1].phase[at_x]

        offsets: list[NDArray[np.int64]] = []
        tables: list[NDArray[np.int32]] = []
        unit_start, weight_start, filled = [0], [], 0
        for phase_y in range(conv.stride[0]):
            for phase_x in range(conv.stride[1]):
                taps = [
                    (ky, kx, (rel_y * columns + rel_x) * depth)
                    for ky, rel_y in reversed(axes[0].taps[phase_y])
                    for kx, rel_x in reversed(axes[1].taps[phase_x])
                ]
                steps = np.arange(0, stacked, lanes)
                offsets += [offset + steps for _, _, offset in taps]
                table = np.zeros((conv.groups * ins, len(taps), stacked), dtype=np.int32)
                for tap, (ky, kx, _) in enumerate(taps):
                    by_group = weight[:, :, ky, kx].reshape(conv.groups, outs, ins)
                    table[:, tap, :outs] = by_group.swapaxes(1, 2).reshape(-1, outs)
                tables.append(table.reshape(-1))
                unit_start.append(unit_start[-1] + len(taps) * len(steps))
                weight_start.append(filled)
                filled += table.size
        longest = int(np.diff(unit_start).max()) * lanes
        flat = np.concatenate([*tables, np.zeros(longest, dtype=np.int32)])
        fits = binary and _largest_sum(weight) <= _NARROW_LIMIT

        def int32(values: Any) -> NDArray[np.int32]:
            return np.ascontiguousarray(values, dtype=np.int32)

        return cls(
            place=int32((group * source[1] + y) * source[2] + x),
            channel=int32(c),
            base=int32(base),
            phase=int32(phase),
            unit_start=int32(unit_start),
            offsets=int32(np.concatenate(offsets) if offsets else []),
            weight_start=int32(weight_start),
            weight=narrowest(flat),
            zeros=filled,
            lanes=lanes,
            frame=(rows, columns, depth),
            margin=(top, left),
            target=(target[0], target[1], target[2]),
            shift=factor,
            narrow=np.int16 if fits else np.int32,
        )

    def deliver(self, events: Events, first: int, last: int, arrivals: Arrivals) -> None:
        """Add what the events of steps ``first`` … ``last`` − 1 deliver to what arrives later."""
        deliver_conv(
            events.index,
            events.count,
            events.row,
            events.value,
            first,
            last,
            self.place,
            self.channel,
            self.base,
            self.phase,
            self.unit_start,
            self.offsets,
            self.weight_start,
            self.weight,
            self.zeros,
            self.lanes,
            self.frame,
            self.margin,
            self.target,
            np.empty(int(np.prod(self.frame)), dtype=self.narrow),
            self.shift,
            arrivals.a,
            arrivals.arrived,
        )


@dataclass(frozen=True)
class _Axis:
    """One axis of a convolution: where each source position adds to the frame.

    A source position's ``base`` is its frame position for a tap at relative position 0; ``taps``
    has, for each phase, the (tap, relative position) pairs that an output exists for.
    """

    margin: int
    size: int
    base: NDArray[np.int64]
    phase: NDArray[np.int64]
    taps: list[list[tuple[int, int]]]


def _axis(conv: ConvProjection, axis: int, source: int, target: int) -> _Axis:
    stride, dilation, padding = conv.stride[axis], conv.dilation[axis], conv.padding[axis]
    kernel = conv.weight.shape[2 + axis]
    taps = [
        [
            (tap, (phase - tap * dilation) // stride)
            for tap in range(kernel)
            if (phase - tap * dilation) % stride == 0
        ]
        for phase in range(stride)
    ]
    padded = np.arange(source) + padding
    reached = [
        int(position) // stride + relative
        for position in padded
        for _, relative in taps[int(position) % stride]
    ]
    margin = max(0, -min(reached, default=0))
    size = margin + max(target, 1 + max(reached, default=0))
    return _Axis(margin, size, padded // stride + margin, padded % stride, taps)


def _largest_sum(weight: NDArray[np.int32]) -> int:
    """The largest |Σ w s| that binary spikes can reach, on the way to the sum as well."""
    per_output = weight.reshape(weight.shape[0], -1).astype(np.int64)
    excited = np.maximum(per_output, 0).sum(axis=1).max(initial=0)
    inhibited = np.maximum(-per_output, 0).sum(axis=1).max(initial=0)
    return int(max(excited, inhibited))


@compiled
def deliver_conv(
    index: NDArray[np.int32],
    count: NDArray[np.int32],
    row: NDArray[np.int32],
    value: NDArray[np.int32],
    first: int,
    last: int,
    place: NDArray[np.int32],
    channel: NDArray[np.int32],
    base: NDArray[np.int32],
    phase: NDArray[np.int32],
    unit_start: NDArray[np.int32],
    offsets: NDArray[np.int32],
    weight_start: NDArray[np.int32],
    weight: NDArray[Any],
    zeros: int,
    lanes: int,
    frame_shape: tuple[int, int, int],
    margin: tuple[int, int],
    target: tuple[int, int, int],
    frame: NDArray[Any],
    shift: int,
    a: NDArray[np.int32],
    arrived: NDArray[np.uint8],
) -> None:
    """What the events of steps ``first`` … ``last`` − 1 deliver one step later.

    Equation: a[b, t + 1] = (Σ value · weight) << shift over the taps; added to what
    is there where ``arrived`` (see `Arrivals`).

    Exact where the sum, and every part of it, fits ``frame``'s integers: for int16 the weights of
    one sign into any output sum to less than 2¹⁵ and messages are 0 or 1; for int32
    Σ |w s| < 2³¹; and where |a| < 2²³, so that nothing wraps at 24 bits.

    Shapes: the tables as in `ConvPort`; ``frame`` flat; ``a`` (B, T, height · width · channels).
    """
    graded = value.size > 0
    _, columns, depth = frame_shape
    channels, height, width = target
    for b in range(a.shape[0]):
        for t in range(first, min(last, a.shape[1] - 1)):
            r = row[b, t]
            events = count[b, r]
            if events == 0:
                continue
            if t == first or r != row[b, t - 1]:
                frame[:] = 0
                listed = index[b, r]
                e = 0
                while e < events:
                    here = place[listed[e]]
                    at, p = base[here], phase[here]
                    low, units = unit_start[p], unit_start[p + 1] - unit_start[p]
                    start, size = weight_start[p], units * lanes
                    w0 = start + channel[listed[e]] * size
                    if lanes == 1:
                        sent = value[b, r, e] if graded else 1
                        for k in range(units):
                            frame[at + offsets[low + k]] += weight[w0 + k] * sent
                        e += 1
                    elif graded:
                        sent = value[b, r, e]
                        for k in range(units):
                            where = at + offsets[low + k]
                            add_scaled_vector(frame, where, weight, w0 + k * LANES, sent)
                        e += 1
                    else:
                        together = 1
                        while (
                            together < 4
                            and e + together < events
                            and place[listed[e + together]] == here
                        ):
                            together += 1
                        if together == 1:
                            for k in range(units):
                                add_vector(frame, at + offsets[low + k], weight, w0 + k * LANES)
                        else:
                            w1 = start + channel[listed[e + 1]] * size
                            w2 = start + channel[listed[e + 2]] * size if together > 2 else zeros
                            w3 = start + channel[listed[e + 3]] * size if together > 3 else zeros
                            for k in range(units):
                                v = k * LANES
                                where = at + offsets[low + k]
                                add_four_vectors(
                                    frame, where, weight, w0 + v, w1 + v, w2 + v, w3 + v
                                )
                        e += together
            out = a[b, t + 1]
            add = arrived[b, t + 1] != 0
            arrived[b, t + 1] = 1
            for y in range(height):
                line = ((y + margin[0]) * columns + margin[1]) * depth
                if depth == channels:
                    _write(frame, line, out, y * width * channels, width * channels, shift, add)
                else:
                    for x in range(width):
                        to = (y * width + x) * channels
                        _write(frame, line + x * depth, out, to, channels, shift, add)


@compiled
def _write(
    frame: NDArray[Any],
    start: int,
    out: NDArray[np.int32],
    to: int,
    size: int,
    shift: int,
    add: bool,
) -> None:
    # a product is computed in 32 bits, a shift by a variable in 64; slices spare a loop the test
    # for negative indices, which keeps it from being vectorised
    factor = np.int32(1 << shift)
    sums, sink = frame[start : start + size], out[to : to + size]
    if add:
        for k in range(size):
            sink[k] = np.int32(sink[k] + np.int32(np.int32(sums[k]) * factor))
    else:
        for k in range(size):
            sink[k] = np.int32(np.int32(sums[k]) * factor)
