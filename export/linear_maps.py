"""What the stateless nodes of NIR compute, in float64, on arrays (N, *shape)."""

from __future__ import annotations

import math
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurokd.export.nir_structure import Shape, conv_padding, pair

Floats = NDArray[np.float64]
_BLOCK = 1 << 21
"""Values computed at a time, 16 MiB: more leave the cache, fewer leave BLAS threads too little."""


def conv(
    x: Floats,
    weight: Floats,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int = 1,
) -> Floats:
    """Cross-correlation with zero padding over any number of spatial axes.

    Shapes: x (N, C, *size), weight (C_out, C / groups, *kernel) → (N, C_out, *size_out).
    """
    kernel = weight.shape[2:]
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    ]
    per_group = weight.shape[0] // groups
    result = np.zeros((x.shape[0], weight.shape[0], *size))
    at_a_time = max(1, _BLOCK // max(1, per_group * math.prod(size)))
    for start in range(0, len(x), at_a_time):
        samples = slice(start, start + at_a_time)
        # channels first: each tap is one product of matrices, (C_out, C) · (C, N · size)
        padded = np.pad(x[samples].swapaxes(0, 1), [(0, 0), (0, 0), *((p, p) for p in padding)])
        for group in range(groups):
            outputs = slice(group * per_group, (group + 1) * per_group)
            inputs = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
            total = np.zeros((per_group, padded.shape[1] * math.prod(size)))
            for tap in np.ndindex(*kernel):
                window = tuple(
                    slice(i * d, i * d + s * (n - 1) + 1, s)
                    for i, d, s, n in zip(tap, dilation, stride, size, strict=True)
                )
                seen = padded[(inputs, slice(None), *window)].reshape(weight.shape[1], -1)
                total += weight[(outputs, slice(None), *tap)] @ seen
            result[samples, outputs] = total.reshape(per_group, -1, *size).swapaxes(0, 1)
    return result


def sum_pool(x: Floats, kernel: Shape, stride: Shape, padding: Shape) -> Floats:
    """Sum over windows, zeros outside. Shapes: x (N, C, H, W) → (N, C, H_out, W_out)."""
    merged = x.reshape(-1, 1, *x.shape[2:])
    pooled = conv(merged, np.ones((1, 1, *kernel)), stride, padding, (1, 1))
    return pooled.reshape(*x.shape[:2], *pooled.shape[2:])


def apply_linear(name: str, node: Any, x: Floats) -> Floats | None:
    """y of a stateless linear (or affine) node, or None if the node is something else."""
    if isinstance(node, (nir.Affine, nir.Linear)):
        y = x @ np.asarray(node.weight, dtype=np.float64).T
        return y + np.asarray(node.bias, dtype=np.float64) if isinstance(node, nir.Affine) else y
    if isinstance(node, nir.Conv2d):
        y = conv(
            x,
            np.asarray(node.weight, dtype=np.float64),
            pair(node.stride),
            conv_padding(name, node),
            pair(node.dilation),
            int(node.groups),
        )
        return y + np.asarray(node.bias, dtype=np.float64)[:, None, None]
    if isinstance(node, nir.Conv1d):
        stride, padding, dilation = (
            (pair(v)[0],) for v in (node.stride, node.padding, node.dilation)
        )
        weight = np.asarray(node.weight, dtype=np.float64)
        y = conv(x, weight, stride, padding, dilation, int(node.groups))
        return y + np.asarray(node.bias, dtype=np.float64)[:, None]
    if isinstance(node, (nir.SumPool2d, nir.AvgPool2d)):
        kernel = pair(node.kernel_size)
        y = sum_pool(x, kernel, pair(node.stride), pair(node.padding))
        # NIR does not say whether padding counts; torch's default counts it
        return y / (kernel[0] * kernel[1]) if isinstance(node, nir.AvgPool2d) else y
    if isinstance(node, nir.Scale):
        return x * np.asarray(node.scale, dtype=np.float64)
    if isinstance(node, nir.Flatten):
        rank = x.ndim - 1
        start, end = (int(d) % rank + 1 for d in (node.start_dim, node.end_dim))
        return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])
    return None
