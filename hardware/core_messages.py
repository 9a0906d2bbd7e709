"""Core-to-core messages: to how many slices of its targets each neuron sends."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.conv_projection import ConvProjection
from neurokd.hardware.core_slice import Slice
from neurokd.hardware.projection import DenseProjection, Projection
from neurokd.hardware.synaptic_memory import axis_lists


def destinations(
    projection: Projection,
    source_shape: tuple[int, ...],
    target_shape: tuple[int, ...],
    slices: Sequence[Slice],
) -> NDArray[np.int64]:
    """For each source neuron the number of ``slices`` of the target that it has a synapse into.

    Each is one output axon of the core that holds the neuron. Shapes: result ``source_shape``.
    """
    if isinstance(projection, DenseProjection):
        return np.full(source_shape, len(slices), dtype=np.int64)
    if isinstance(projection, ConvProjection):
        return _conv_destinations(projection, source_shape, slices)
    owner = np.zeros(target_shape, dtype=np.int64)
    for number, part in enumerate(slices):
        owner[part.index] = number
    pairs = projection.columns.astype(np.int64) * len(slices) + owner.reshape(-1)[projection.rows]
    reached = np.unique(pairs) // len(slices)
    return np.bincount(reached, minlength=math.prod(source_shape)).reshape(source_shape)


def _conv_destinations(
    projection: ConvProjection, source_shape: tuple[int, ...], slices: Sequence[Slice]
) -> NDArray[np.int64]:
    """Slices of a grid: reached along the three axes independently of each other."""
    along = []
    for axis in (1, 2):
        reached = np.zeros(source_shape[axis], dtype=np.int64)
        for bounds in sorted({part.bounds[axis] for part in slices}):
            lists = axis_lists(
                source_shape[axis],
                bounds,
                projection.weight.shape[axis + 1],
                projection.stride[axis - 1],
                projection.padding[axis - 1],
                projection.dilation[axis - 1],
            )
            reached += [bool(entries) for entries in lists]
        along.append(reached)
    per_group = projection.weight.shape[0] // projection.groups
    blocks = sorted({part.bounds[0] for part in slices})
    group = np.arange(source_shape[0]) // projection.weight.shape[1]
    channels = sum(
        ((group * per_group < end) & ((group + 1) * per_group > first)).astype(np.int64)
        for first, end in blocks
    )
    rows, columns = along
    product: NDArray[np.int64] = channels[:, None, None] * rows[:, None] * columns
    return product
