"""Synaptic memory: what the synapses into a slice of a population take of its core."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.conv_projection import ConvProjection
from neurokd.hardware.core_slice import Slice
from neurokd.hardware.projection import DenseProjection, Projection
from neurokd.hardware.sparse_projection import SparseProjection

WORD_BITS = 64
_BLOCK = 64
"""Synapses that share one header."""
_HEADER_BITS = 4 + 6
_INDEX_BITS = (6, 12)


@dataclass(frozen=True)
class SynapticNeed:
    """Input axons, and bits of synaptic memory."""

    input_axons: int
    memory_bits: int

    def __add__(self, other: SynapticNeed) -> SynapticNeed:
        return SynapticNeed(
            self.input_axons + other.input_axons, self.memory_bits + other.memory_bits
        )


def synaptic_need(
    projection: Projection,
    source_shape: tuple[int, ...],
    target: Slice,
    target_shape: tuple[int, ...],
) -> SynapticNeed:
    """What a projection needs in the core of ``target``, a slice of its target population.

    Every source neuron with a synapse into the slice is one input axon, and has one list of
    synapses. Equation: a list of n synapses takes, in blocks of up to 64, n · (weight bits + delay
    bits [+ index bits]) + 10 bits each, rounded up to words of 64 bits. Dense lists need no
    index. A convolution keeps one list for all source neurons of a channel whose synapses differ
    by a shift alone (at an edge or off the stride they differ by more).
    Source: nengo-loihi 1.0, `Synapse.bits_per_axon`, which was checked against the chip's tools.
    """
    if isinstance(projection, ConvProjection):
        return _conv_need(projection, source_shape, target)
    weight_bits = _weight_bits(projection.num_weight_bits) + _delay_bits(projection.delays)
    if isinstance(projection, DenseProjection):
        sources = math.prod(source_shape)
        return SynapticNeed(sources, sources * int(list_bits(target.size, weight_bits)))
    return _sparse_need(projection, source_shape, target, target_shape, weight_bits)


def list_bits(synapses: NDArray[np.int64] | int, bits: int) -> NDArray[np.int64]:
    """Memory of lists of so many synapses of ``bits`` bits each; units: bit."""
    full, rest = np.divmod(np.asarray(synapses, dtype=np.int64), _BLOCK)
    return full * _words(_BLOCK * bits + _HEADER_BITS) + np.where(
        rest > 0, _words(rest * bits + _HEADER_BITS), 0
    )


@lru_cache(maxsize=4096)
def axis_lists(
    source: int, target: tuple[int, int], kernel: int, stride: int, padding: int, dilation: int
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """For each source position along one axis, its synapses into targets first … end − 1.

    A synapse is (tap of the kernel, target position); shifted by the list's first target two lists
    are equal where one list in memory serves both.
    """
    lists: list[list[tuple[int, int]]] = [[] for _ in range(source)]
    for position in range(*target):
        for tap in range(kernel):
            origin = position * stride - padding + tap * dilation
            if 0 <= origin < source:
                lists[origin].append((tap, position))
    return tuple(tuple(entries) for entries in lists)


def _conv_need(
    projection: ConvProjection, source_shape: tuple[int, ...], target: Slice
) -> SynapticNeed:
    rows, columns = (
        [
            entries
            for entries in axis_lists(
                source_shape[axis],
                target.bounds[axis],
                projection.weight.shape[axis + 1],
                projection.stride[axis - 1],
                projection.padding[axis - 1],
                projection.dilation[axis - 1],
            )
            if entries
        ]
        for axis in (1, 2)
    )
    first, end = target.bounds[0]
    per_group = projection.weight.shape[0] // projection.groups
    channels_in = projection.weight.shape[1]
    bits = 0
    groups = range(first // per_group, -(-end // per_group))
    for group in groups:
        targets = min(end, (group + 1) * per_group) - max(first, group * per_group)
        taps = np.outer(_distinct_lengths(rows), _distinct_lengths(columns)) * targets
        stored = list_bits(taps, _weight_bits(projection.num_weight_bits))
        bits += channels_in * int(stored.sum())
    return SynapticNeed(len(groups) * channels_in * len(rows) * len(columns), bits)


def _distinct_lengths(lists: list[tuple[tuple[int, int], ...]]) -> NDArray[np.int64]:
    """Lengths of the lists that no shift makes equal."""
    shifted = {tuple((tap, at - entries[0][1]) for tap, at in entries) for entries in lists}
    return np.array(sorted(len(entries) for entries in shifted), dtype=np.int64)


def _sparse_need(
    projection: SparseProjection,
    source_shape: tuple[int, ...],
    target: Slice,
    target_shape: tuple[int, ...],
    weight_bits: int,
) -> SynapticNeed:
    inside = np.zeros(target_shape, dtype=bool)
    inside[target.index] = True
    columns = projection.columns[inside.reshape(-1)[projection.rows]]
    lengths = np.bincount(columns, minlength=math.prod(source_shape))
    lengths = lengths[lengths > 0]
    low, high = _INDEX_BITS
    index_bits = min(max(low, (target.size - 1).bit_length()), high)
    return SynapticNeed(len(lengths), int(list_bits(lengths, weight_bits + index_bits).sum()))


def _words(bits: NDArray[np.int64] | int) -> NDArray[np.int64]:
    return -(-np.asarray(bits, dtype=np.int64) // WORD_BITS) * WORD_BITS


def _weight_bits(num_weight_bits: int) -> int:
    """Bits that are stored: the chip has no format of seven."""
    return 8 if num_weight_bits == 7 else num_weight_bits


def _delay_bits(delays: NDArray[np.int32] | None) -> int:
    return 0 if delays is None else int(delays.max()).bit_length()
