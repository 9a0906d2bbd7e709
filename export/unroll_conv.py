"""A convolution written out synapse by synapse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurokd.export.float_network import ConvGeometry, Ends, Shape
from neurokd.export.linear_maps import Floats

Positions = NDArray[np.int64]


def unrolled_size(weight: Floats, geometry: ConvGeometry, source: Shape, target: Shape) -> int:
    """Number of synapses that `unroll` gives, those of weight 0 included."""
    rows, columns = (
        sum(len(_reads(weight, geometry, source, target, axis, tap)[0]) for tap in range(size))
        for axis, size in enumerate(weight.shape[2:])
    )
    return int(weight.shape[0] * weight.shape[1] * rows * columns)


def unroll(
    weight: Floats, geometry: ConvGeometry, source: Shape, target: Shape
) -> tuple[Floats, Ends]:
    """The synapses of a convolution; what only meets padding has none.

    Shapes: weight (C_out, C_in / groups, kH, kW), source (C_in, H, W), target (C_out, H', W').
    """
    outputs, inputs = weight.shape[:2]
    out = np.arange(outputs)
    # (C_out, C_in / groups): the source channel that each entry of the kernel reads
    channel = (out // (outputs // geometry.groups) * inputs)[:, None] + np.arange(inputs)
    rows, columns, values = [], [], []
    for i, j in np.ndindex(*weight.shape[2:]):
        to_y, from_y = _reads(weight, geometry, source, target, 0, i)
        to_x, from_x = _reads(weight, geometry, source, target, 1, j)
        to = (to_y[:, None] * target[2] + to_x).ravel()
        origin = (from_y[:, None] * source[2] + from_x).ravel()
        shape = (outputs, inputs, len(to))
        row = (out * target[1] * target[2])[:, None, None] + to
        column = (channel * source[1] * source[2])[:, :, None] + origin
        rows.append(np.broadcast_to(row, shape).ravel())
        columns.append(np.broadcast_to(column, shape).ravel())
        values.append(np.broadcast_to(weight[:, :, i, j, None], shape).ravel())
    return np.concatenate(values), Ends(np.concatenate(rows), np.concatenate(columns))


def _reads(
    weight: Floats, geometry: ConvGeometry, source: Shape, target: Shape, axis: int, tap: int
) -> tuple[Positions, Positions]:
    """Positions of the target, and what each reads of the source through one tap of the kernel."""
    to: Positions = np.arange(target[1 + axis], dtype=np.int64)
    start = to * geometry.stride[axis] - geometry.padding[axis]
    origin = start + tap * geometry.dilation[axis]
    inside = (origin >= 0) & (origin < source[1 + axis])
    return to[inside], origin[inside]
