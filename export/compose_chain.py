"""A chain of linear nodes as one set of synapses: a convolution, a sparse or a dense matrix."""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import nir
import numpy as np
from scipy.sparse import csr_array, diags_array, issparse

from neurokd.export.float_network import ConvGeometry, Ends, Shape
from neurokd.export.linear_maps import Floats, apply_linear
from neurokd.export.lowering import refuse
from neurokd.export.nir_structure import conv_padding, pair
from neurokd.export.unroll_conv import unroll, unrolled_size

MAX_DENSE = 1 << 26
"""Synapses beyond which a composed matrix is refused."""
_SPARSE_SHARE = 1 / 4
"""A matrix with fewer entries than this share becomes a list of synapses."""

Link = tuple[str, Any]
"""A node and its name."""


class Synapses(NamedTuple):
    """Weights in one of the forms of `FloatProjection`."""

    weight: Floats
    geometry: ConvGeometry | None = None
    ends: Ends | None = None


def compose_chain(chain: list[Link], source: Shape, target: Shape, reader: str) -> Synapses:
    """What a chain makes of its source's messages, without its biases.

    One convolution stays one, as do pooling · convolution and factors a channel before or after
    them; a pool, or nothing, between images is depthwise; one linear node is its matrix; everything
    else is the matrix of the whole chain, sparse where few of its entries are not 0. A Conv1d is a
    Conv2d over images of height 1.

    Raises: `UnsupportedNodeError` naming a node of the chain, or ``reader``, which it leads to.
    """
    if len(source) == 3:
        folded = _convolution(chain, source)
        if folded is not None:
            return folded
    if len(chain) == 1 and isinstance(chain[0][1], (nir.Affine, nir.Linear)):
        return Synapses(np.asarray(chain[0][1].weight, dtype=np.float64))
    return _matrix(chain, source, target, reader)


def listed(synapses: Synapses, source: Shape, target: Shape, reader: str, why: str) -> Synapses:
    """The same synapses without a shared kernel, since each needs something of its own."""
    if synapses.geometry is None:
        return synapses
    count = unrolled_size(synapses.weight, synapses.geometry, source, target)
    if count > MAX_DENSE // 4:
        raise refuse(
            reader,
            f"{why}, which a convolution's shared weights cannot have, and it is too large to be "
            "written out",
            "train with one value a channel",
            f"{count} synapses",
        )
    weight, ends = unroll(synapses.weight, synapses.geometry, source, target)
    return Synapses(weight, None, ends)


def linear(name: str, node: Any, x: Floats) -> Floats:
    """y of a linear node; images of height 1 stand for the signals of a Conv1d."""
    if isinstance(node, nir.Conv1d):
        node = _as_conv2d(node)
    values = node
    if isinstance(node, nir.Scale) and np.ndim(node.scale) and node.scale.shape != x.shape[1:]:
        values = nir.Scale(np.asarray(node.scale).reshape(x.shape[1:]))
    if isinstance(node, nir.Flatten):
        return _flatten(node, x)
    answer = apply_linear(name, values, x)
    if answer is None:
        raise refuse(name, f"{type(node).__name__} is not a linear node", "use LIF or IF neurons")
    return answer


def _flatten(node: nir.Flatten, x: Floats) -> Floats:
    """Flattened; the axis that a signal has too many as an image is taken out before."""
    declared = node.input_type.get("input") if node.input_type else None
    if declared is not None and len(declared) == x.ndim - 2:
        x = x.reshape(len(x), *(int(n) for n in declared))
    answer = apply_linear("", node, x)
    assert answer is not None
    return answer if answer.ndim != 3 else answer[:, :, None]


def _as_conv2d(node: nir.Conv1d) -> nir.Conv2d:
    stride, padding, dilation = (pair(v)[0] for v in (node.stride, node.padding, node.dilation))
    weight = np.asarray(node.weight, dtype=np.float64)[:, :, None]
    return nir.Conv2d(
        None, weight, (1, stride), (0, padding), (1, dilation), int(node.groups), node.bias
    )


def _convolution(chain: list[Link], source: Shape) -> Synapses | None:
    """The chain as one convolution, if it is one."""
    channels = source[0]
    weight = np.ones((channels, 1, 1, 1))
    geometry = ConvGeometry(groups=channels)
    pool: Link | None = None
    plain = True  # so far a factor a channel, and nothing else
    for name, node in chain:
        if isinstance(node, nir.Scale):
            factors = _by_channel(np.asarray(node.scale, dtype=np.float64), len(weight))
            if factors is None:
                return None
            weight = weight * factors[:, None, None, None]
        elif isinstance(node, (nir.SumPool2d, nir.AvgPool2d)) and plain:
            kernel = pair(node.kernel_size)
            value = 1.0 / math.prod(kernel) if isinstance(node, nir.AvgPool2d) else 1.0
            weight = weight * np.full((1, 1, *kernel), value)
            geometry = ConvGeometry(pair(node.stride), pair(node.padding), groups=channels)
            pool, plain = (name, node), False
        elif isinstance(node, (nir.Conv1d, nir.Conv2d)) and (plain or pool):
            own = _as_conv2d(node) if isinstance(node, nir.Conv1d) else node
            kernel_weight = np.asarray(own.weight, dtype=np.float64)
            walk = ConvGeometry(
                pair(own.stride), conv_padding(name, own), pair(own.dilation), int(own.groups)
            )
            merged = _after_factors(kernel_weight, walk, weight[:, 0, 0, 0])
            if pool is not None:
                found = _pooled_convolution(pool[1], merged, walk, source)
                if found is None:
                    return None
                merged, walk = found
            weight, geometry, pool, plain = merged, walk, None, False
        else:
            return None
    return Synapses(weight, geometry)


def _by_channel(factors: Floats, channels: int) -> Floats | None:
    """One factor a channel, if all positions of a channel agree."""
    if not factors.ndim:
        return np.full(channels, float(factors))
    rows = factors.reshape(channels, -1)
    return rows[:, 0].copy() if (rows == rows[:, :1]).all() else None


def _after_factors(weight: Floats, geometry: ConvGeometry, factors: Floats) -> Floats:
    """The kernel behind a factor for each of its source's channels."""
    group = np.arange(len(weight)) // (len(weight) // geometry.groups)
    channel = group[:, None] * weight.shape[1] + np.arange(weight.shape[1])
    result: Floats = weight * factors[channel][:, :, None, None]
    return result


def _pooled_convolution(
    pool: Any, weight: Floats, geometry: ConvGeometry, source: Shape
) -> tuple[Floats, ConvGeometry] | None:
    """Sum over windows, then convolve: each tap of the kernel becomes a window of equal taps.

    None where padding after pooling would have to hide rows that pooling left out.
    """
    window, hop = pair(pool.kernel_size), pair(pool.stride)
    pooled = [(source[1 + i] - window[i]) // hop[i] + 1 for i in range(2)]
    whole = all(
        window[i] <= hop[i] and (geometry.padding[i] == 0 or source[1 + i] <= pooled[i] * hop[i])
        for i in range(2)
    )
    if pair(pool.padding) != (0, 0) or not whole:
        return None
    spread = [geometry.dilation[i] * hop[i] for i in range(2)]
    size = [(weight.shape[2 + i] - 1) * spread[i] + window[i] for i in range(2)]
    merged = np.zeros((*weight.shape[:2], *size))
    for i, j in np.ndindex(*weight.shape[2:]):
        rows = slice(i * spread[0], i * spread[0] + window[0])
        columns = slice(j * spread[1], j * spread[1] + window[1])
        merged[:, :, rows, columns] += weight[:, :, i, j, None, None]
    stride = (geometry.stride[0] * hop[0], geometry.stride[1] * hop[1])
    padding = (geometry.padding[0] * hop[0], geometry.padding[1] * hop[1])
    for i in range(2):
        ours = (source[1 + i] + 2 * padding[i] - size[i]) // stride[i]
        reach = geometry.dilation[i] * (weight.shape[2 + i] - 1) + 1
        theirs = (pooled[i] + 2 * geometry.padding[i] - reach) // geometry.stride[i]
        if ours != theirs:
            return None
    return merged, ConvGeometry(stride, padding, groups=geometry.groups)


def _matrix(chain: list[Link], source: Shape, target: Shape, reader: str) -> Synapses:
    """The matrix of a chain: the product of its nodes' matrices, from the last one backwards."""
    factors: list[Any] = []
    shape = source
    for name, node in chain:
        factor, shape = _factor(name, node, shape)
        if factor is not None:
            factors.append(factor)
    outputs, inputs = math.prod(target), math.prod(source)
    product: Any = diags_array(np.ones(outputs), format="csr")
    for factor in reversed(factors):
        if issparse(product) or not issparse(factor):
            product = product @ factor
        else:
            product = (factor.T @ product.T).T
        _check_size(chain[0][0], product.nnz if issparse(product) else product.size)
    if issparse(product):
        listed_product = product.tocoo()
        listed_product.eliminate_zeros()
        row, column, value = listed_product.row, listed_product.col, listed_product.data
        if value.size < _SPARSE_SHARE * inputs * outputs:
            ends = Ends(row.astype(np.int64), column.astype(np.int64))
            return Synapses(value.astype(np.float64), None, ends)
        _check_size(reader, inputs * outputs)
        return Synapses(listed_product.toarray())
    weight = np.asarray(product, dtype=np.float64)
    if np.count_nonzero(weight) < _SPARSE_SHARE * weight.size:
        row, column = np.nonzero(weight)
        return Synapses(weight[row, column], None, Ends(row, column))
    return Synapses(weight)


def _factor(name: str, node: Any, shape: Shape) -> tuple[Any, Shape]:
    """The matrix of one node, None where it only reshapes, and the shape behind it."""
    if isinstance(node, (nir.Affine, nir.Linear)):
        weight = np.asarray(node.weight, dtype=np.float64)
        _check_size(name, weight.size)
        return weight, (len(weight),)
    behind = linear(name, _without_bias(node), np.zeros((1, *shape))).shape[1:]
    if isinstance(node, nir.Flatten):
        return None, behind
    if isinstance(node, nir.Scale):
        factors = np.asarray(node.scale, dtype=np.float64)
        factors = np.broadcast_to(factors.reshape(shape) if factors.ndim else factors, shape)
        return diags_array(factors.ravel(), format="csr"), behind
    synapses = _convolution([(name, node)], shape)
    assert synapses is not None and synapses.geometry is not None, name
    _check_size(name, unrolled_size(synapses.weight, synapses.geometry, shape, behind))
    weight, ends = unroll(synapses.weight, synapses.geometry, shape, behind)
    size = (math.prod(behind), math.prod(shape))
    return csr_array((weight, (ends.rows, ends.columns)), shape=size), behind


def _check_size(name: str, count: int) -> None:
    if count > MAX_DENSE:
        raise refuse(
            name,
            "the linear nodes between two populations make too large a matrix",
            "put neurons between them, or use one convolution",
            f"{count} synapses",
        )


def _without_bias(node: Any) -> Any:
    if not hasattr(node, "bias"):
        return node
    bare = copy.copy(node)
    bare.bias = np.zeros_like(node.bias)
    return bare
