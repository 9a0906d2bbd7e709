"""The structure of a NIR graph: order, predecessors and the shape at every node.

nir's own type inference takes one kernel size for both axes and one channel count for all groups;
here both are right.
"""

from __future__ import annotations

import math
from collections import deque
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import nir
import numpy as np

from neurokd.errors import ShapeMismatchError, UnsupportedNodeError

DEFAULT_DT = 1e-4
"""Seconds a step where a graph does not say: snnTorch's and spikingjelly's value."""

MAX_SIZE = 1 << 31
"""Values that may leave a node in one step."""

Shape = tuple[int, ...]

NEURONS = (nir.I, nir.IF, nir.LI, nir.LIF, nir.CubaLI, nir.CubaLIF)
"""Primitives with a membrane."""


class NodeShape(NamedTuple):
    """Shape without time and batch of what enters and what leaves a node."""

    input: Shape
    output: Shape


def pair(value: Any) -> tuple[int, int]:
    """An integer, or two, as two."""
    entries = np.atleast_1d(np.asarray(value)).astype(int)
    return (int(entries[0]), int(entries[-1]))


def declared_shape(name: str, value: Any) -> Shape:
    """The shape an Input or an Output states.

    Raises: `ShapeMismatchError` for anything but positive whole numbers, or too many neurons.
    """
    array = np.atleast_1d(np.asarray(value))
    whole = array.ndim == 1 and (array.dtype.kind in "iu" or array.size == 0)
    _require(name, whole and bool(np.all(array >= 1)), "a shape of whole numbers", value)
    shape = tuple(int(n) for n in array)
    _require(name, math.prod(shape) <= MAX_SIZE, f"at most {MAX_SIZE} neurons", shape)
    return shape


def conv_padding(name: str, node: nir.Conv2d) -> tuple[int, int]:
    """Zeros added at each side of both axes; ``same`` only where that is symmetric."""
    if not isinstance(node.padding, str):
        return pair(node.padding)
    if node.padding == "valid":
        return (0, 0)
    totals = [d * (k - 1) for d, k in zip(pair(node.dilation), node.weight.shape[2:], strict=True)]
    if any(total % 2 for total in totals) or pair(node.stride) != (1, 1):
        raise UnsupportedNodeError(
            "padding 'same' is not symmetric here",
            where=f"node {name!r}",
            expected="dilation · (kernel − 1) even on both axes, and stride 1",
            found=f"kernel {tuple(node.weight.shape[2:])}, stride {pair(node.stride)}",
            remedy="use an odd kernel or explicit padding",
        )
    return (totals[0] // 2, totals[1] // 2)


def graph_dt(graph: nir.NIRGraph, dt: float | None = None) -> float:
    """Seconds a step: the argument, else the graph's metadata, else `DEFAULT_DT`."""
    return float(dt if dt is not None else graph.metadata.get("dt", DEFAULT_DT))


def predecessors(graph: nir.NIRGraph) -> dict[str, list[str]]:
    """The nodes with an edge into each node; several of them are summed."""
    sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        sources[target].append(source)
    return sources


def topological_order(graph: nir.NIRGraph) -> list[str]:
    """The nodes' names, each after its predecessors; `UnsupportedNodeError` names a cycle."""
    try:
        return list(TopologicalSorter(predecessors(graph)).static_order())
    except CycleError as error:
        raise UnsupportedNodeError(
            "the graph has a feedback loop",
            where="NIR graph",
            found=" → ".join(error.args[1]),
            remedy="recurrent networks are not supported yet",
        ) from error


def node_shapes(graph: nir.NIRGraph) -> dict[str, NodeShape]:
    """The shape at every node, following the edges from the inputs; cycles are allowed.

    Raises: `ShapeMismatchError` naming the node whose parameters do not fit what arrives;
    `UnsupportedNodeError` for a node that is no known primitive, or that nothing reaches.
    """
    shapes: dict[str, NodeShape] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Input):
            shape = declared_shape(name, node.input_type["input"])
            shapes[name] = NodeShape(shape, shape)
    following: dict[str, list[str]] = {}
    for source, target in graph.edges:
        following.setdefault(source, []).append(target)
    ready = deque(shapes)
    while ready:
        source = ready.popleft()
        arriving = shapes[source].output
        for target in following.get(source, ()):
            if target not in shapes:
                node = graph.nodes[target]
                shapes[target] = NodeShape(arriving, _output_shape(target, node, arriving))
                ready.append(target)
            elif shapes[target].input != arriving:
                raise ShapeMismatchError(
                    f"what arrives from {source!r} does not fit the node's other inputs",
                    where=f"node {target!r}",
                    expected=str(shapes[target].input),
                    found=str(arriving),
                )
    lost = next((name for name in graph.nodes if name not in shapes), None)
    if lost is not None:
        raise UnsupportedNodeError(
            "no input reaches this node",
            where=f"node {lost!r}",
            expected="a way from an Input",
            found="none",
        )
    return shapes


def _output_shape(name: str, node: Any, arriving: Shape) -> Shape:
    if isinstance(node, nir.Conv2d):
        return _conv2d_shape(name, node, arriving)
    if isinstance(node, nir.Conv1d):
        return _conv1d_shape(name, node, arriving)
    if isinstance(node, (nir.SumPool2d, nir.AvgPool2d)):
        _require(name, len(arriving) == 3, "(C, H, W)", arriving)
        _require_counts(name, node, ("kernel_size", "stride", "padding"), 2)
        _require(name, min(pair(node.kernel_size)) >= 1, "kernel_size ≥ 1", node.kernel_size)
        return (
            arriving[0],
            *_windows(
                name,
                arriving[1:],
                pair(node.kernel_size),
                pair(node.stride),
                pair(node.padding),
                (1, 1),
            ),
        )
    if isinstance(node, (nir.Affine, nir.Linear)):
        weight = np.asarray(node.weight)
        _require(name, weight.ndim == 2, "a weight with two axes", weight.shape)
        _require(name, arriving == (weight.shape[1],), str((weight.shape[1],)), arriving)
        if isinstance(node, nir.Affine):
            _require_field(name, "bias", node.bias, (weight.shape[0],))
        return (weight.shape[0],)
    if isinstance(node, nir.Flatten):
        return _flatten_shape(name, node, arriving)
    if isinstance(node, nir.Output):
        declared = declared_shape(name, node.output_type["output"])
        _require(name, arriving == declared, str(declared), arriving)
        return arriving
    fields = _ELEMENTWISE.get(type(node))
    if fields is None:
        raise UnsupportedNodeError(
            f"{type(node).__name__} is not supported",
            where=f"node {name!r}",
            expected="a primitive of NIR 1.0",
            found=type(node).__name__,
        )
    for field in fields:
        _require_field(name, field, getattr(node, field), arriving)
    return arriving


_ELEMENTWISE: dict[type, tuple[str, ...]] = {
    nir.Scale: ("scale",),
    nir.Threshold: ("threshold",),
    nir.Delay: ("delay",),
    nir.I: ("r",),
    nir.IF: ("r", "v_threshold", "v_reset"),
    nir.LI: ("tau", "r", "v_leak"),
    nir.LIF: ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    nir.CubaLI: ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
    nir.CubaLIF: ("tau_syn", "tau_mem", "r", "v_leak", "w_in", "v_threshold", "v_reset"),
}


def _conv2d_shape(name: str, node: nir.Conv2d, arriving: Shape) -> Shape:
    weight = np.asarray(node.weight)
    _require_counts(name, node, ("stride", "padding", "dilation"), 2)
    _require_groups(name, node, weight)
    _require(name, weight.ndim == 4, "a weight with four axes", weight.shape)
    channels = weight.shape[1] * int(node.groups)
    fits = len(arriving) == 3 and arriving[0] == channels
    _require(name, fits, f"({channels}, H, W)", arriving)
    _require_field(name, "bias", node.bias, (weight.shape[0],))
    if node.input_shape is not None:
        declared = pair(node.input_shape)
        _require(name, arriving[1:] == declared, str((channels, *declared)), arriving)
    spatial = _windows(
        name,
        arriving[1:],
        weight.shape[2:],
        pair(node.stride),
        conv_padding(name, node),
        pair(node.dilation),
    )
    return (weight.shape[0], *spatial)


def _conv1d_shape(name: str, node: nir.Conv1d, arriving: Shape) -> Shape:
    weight = np.asarray(node.weight)
    _require_counts(name, node, ("stride", "padding", "dilation"), 1)
    _require_groups(name, node, weight)
    _require(name, weight.ndim == 3, "a weight with three axes", weight.shape)
    channels = weight.shape[1] * int(node.groups)
    fits = len(arriving) == 2 and arriving[0] == channels
    _require(name, fits, f"({channels}, N)", arriving)
    _require(name, not isinstance(node.padding, str), "an integer padding", repr(node.padding))
    _require_field(name, "bias", node.bias, (weight.shape[0],))
    single = tuple((pair(v)[0],) for v in (node.stride, node.padding, node.dilation))
    return (weight.shape[0], *_windows(name, arriving[1:], weight.shape[2:], *single))


def _flatten_shape(name: str, node: nir.Flatten, arriving: Shape) -> Shape:
    rank = len(arriving)
    ends = [np.asarray(d) for d in (node.start_dim, node.end_dim)]
    within = all(d.ndim == 0 and d.dtype.kind in "iu" and -rank <= int(d) < rank for d in ends)
    _require(name, within, f"dimensions of {arriving}", f"{node.start_dim}, {node.end_dim}")
    start, end = (int(d) % rank for d in (node.start_dim, node.end_dim))
    _require(name, start <= end, "start_dim ≤ end_dim", f"{start}, {end}")
    merged = math.prod(arriving[start : end + 1])
    return (*arriving[:start], merged, *arriving[end + 1 :])


def _windows(
    name: str, size: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape
) -> Shape:
    _require(name, min(stride) >= 1, "stride ≥ 1", stride)
    _require(name, min(dilation) >= 1, "dilation ≥ 1", dilation)
    _require(name, min(padding) >= 0, "padding ≥ 0", padding)
    result = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    _require(name, min(result) >= 1, "a kernel no larger than its padded input", kernel)
    return result


def _require_counts(name: str, node: Any, fields: tuple[str, ...], axes: int) -> None:
    """Whole numbers, one for all axes or one for each; numpy would cut off what is not whole."""
    for field in fields:
        value = getattr(node, field)
        if isinstance(value, str):
            continue
        array = np.asarray(value)
        fits = array.dtype.kind in "iu" and array.ndim <= 1 and array.size in (1, axes)
        bounded = fits and bool(np.all(np.abs(array.astype(np.float64)) < MAX_SIZE))
        _require(name, bounded, f"{field}: 1 or {axes} whole numbers", value)


def _require_groups(name: str, node: Any, weight: Any) -> None:
    groups = np.asarray(node.groups)
    whole = groups.dtype.kind in "iu" and groups.ndim == 0 and int(groups) >= 1
    _require(name, whole, "groups ≥ 1", node.groups)
    divides = weight.ndim > 0 and weight.shape[0] % int(groups) == 0
    _require(name, divides, f"output channels in {int(groups)} equal groups", weight.shape)


def _require_field(name: str, field: str, value: Any, expected: Shape) -> None:
    found = np.shape(value)
    if found != expected:
        raise ShapeMismatchError(
            f"{field} does not fit",
            where=f"node {name!r}",
            expected=str(expected),
            found=str(found),
        )


def _require(name: str, holds: bool, expected: str, found: Any) -> None:
    if not holds:
        raise ShapeMismatchError(
            "the shapes do not fit", where=f"node {name!r}", expected=expected, found=str(found)
        )
