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

    Raises: `UsageError` for a node whose name HDF5 would split ("/"), or what HDF5 cannot hold.
    """
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
