"""Writing a NIR graph: one HDF5 file, complete or not at all."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurokd.atomic import write_bytes
from neurokd.errors import UsageError
from neurokd.export.hdf5_memory import MemoryFile
from neurokd.export.nir_structure import NodeShape, node_shapes

_STRUCTURE_BYTES = 1 << 20
"""Names, shapes and trees of a usual graph; a file that needs more is moved once."""


def write_nir(graph: nir.NIRGraph, path: str | Path) -> Path:
    """Write a graph as nir does; the same graph gives the same bytes, read back or not.

    A convolution's ``input_shape`` and a Flatten's ``input_type`` that the graph leaves open are
    filled in, since files cannot hold them open.

    Raises: `UsageError` for a node whose name HDF5 would split ("/"), for numbers that are not
    finite, which `read_nir` would refuse, and for what HDF5 cannot hold.
    """
    _check_finite(graph)
    ready = _canonical(graph)
    stream = MemoryFile(_array_bytes(ready) + _STRUCTURE_BYTES)
    try:
        nir.write(stream, ready)
    except (TypeError, ValueError, OSError) as error:
        raise UsageError(
            "nir cannot write this graph",
            where=str(path),
            expected="arrays, numbers and texts",
            found=f"{type(error).__name__}: {error}",
            remedy="look for None or other objects in its metadata",
        ) from error
    return write_bytes(Path(path), stream.content)


def _check_finite(graph: nir.NIRGraph, outer: str = "") -> None:
    for key, node in graph.nodes.items():
        name = f"{outer}.{key}" if outer else key
        if isinstance(node, nir.NIRGraph):
            _check_finite(node, name)
            continue
        for field, value in vars(node).items():
            numbers = np.asarray(value if isinstance(value, (np.ndarray, np.generic, float)) else 0)
            if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
                raise UsageError(
                    f"{field} has values that are not finite",
                    where=f"node {name!r}",
                    expected="finite numbers",
                    found=str(numbers[~np.isfinite(numbers)].flat[0]),
                    remedy="train or load the network again",
                )


def _array_bytes(graph: nir.NIRGraph) -> int:
    """What the arrays take that HDF5 compresses."""
    return sum(
        _array_bytes(node)
        if isinstance(node, nir.NIRGraph)
        else sum(value.nbytes for value in vars(node).values() if isinstance(value, np.ndarray))
        for node in graph.nodes.values()
    )


class _Uncopied(np.ndarray[Any, Any]):
    """An array that nir's `to_dict` takes as it is; else it copies all parameters, twice."""

    def __deepcopy__(self, memo: dict[int, Any] | None) -> _Uncopied:
        return self


def _canonical(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Nodes in the order HDF5 lists them, pairs as arrays: what reading gives back."""
    for name in graph.nodes:
        if not name or "/" in name or name == "." or not name.isprintable():
            raise UsageError(
                "a node's name cannot be written to HDF5",
                where=f"node {name!r}",
                expected="a printable name without '/'",
                remedy="rename the node",
            )
    shapes = node_shapes(graph) if any(map(_is_open, graph.nodes.values())) else {}
    nodes: dict[str, Any] = {}
    for name in sorted(graph.nodes):
        node = graph.nodes[name]
        inner = isinstance(node, nir.NIRGraph)
        nodes[name] = _canonical(node) if inner else _arrays(node, shapes.get(name))
    metadata = {key: graph.metadata[key] for key in sorted(graph.metadata)}
    return nir.NIRGraph(nodes=nodes, edges=graph.edges, metadata=metadata, type_check=False)


def _is_open(node: Any) -> bool:
    if isinstance(node, nir.Flatten):
        return node.input_type["input"] is None
    return isinstance(node, (nir.Conv1d, nir.Conv2d)) and node.input_shape is None


def _arrays(node: Any, shape: NodeShape | None) -> Any:
    result = copy.copy(node)
    if shape is not None and isinstance(node, nir.Conv1d):
        result.input_shape = shape.input[1]
    elif shape is not None and isinstance(node, nir.Conv2d):
        result.input_shape = shape.input[1:]
    elif shape is not None and isinstance(node, nir.Flatten):
        result.input_type = {"input": np.array(shape.input)}
    for field, value in vars(result).items():
        if isinstance(value, (tuple, list)):
            setattr(result, field, np.asarray(value))
        elif isinstance(value, np.ndarray) and value.shape == ():
            setattr(result, field, value[()])  # HDF5 does not compress a single number
        elif isinstance(value, np.ndarray):
            setattr(result, field, value.view(_Uncopied))
    return result
