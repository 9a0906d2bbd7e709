"""Writing a NIR graph: one HDF5 file, complete or not at all."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurokd.atomic import write_bytes
from neurokd.errors import UsageError


def write_nir(graph: nir.NIRGraph, path: str | Path) -> Path:
    """Write a graph as nir does; the same graph gives the same bytes, read back or not.

    Raises: `UsageError` for a node whose name HDF5 would split ("/").
    """
    for name in graph.nodes:
        if not name or "/" in name or name == ".":
            raise UsageError(
                "a node's name cannot be written to HDF5",
                where=f"node {name!r}",
                expected="a name without '/'",
                remedy="rename the node",
            )
    content = io.BytesIO()
    nir.write(content, _canonical(graph))
    return write_bytes(Path(path), content.getvalue())


def _canonical(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Nodes in the order HDF5 lists them, pairs as arrays: what reading gives back."""
    nodes = {name: _arrays(graph.nodes[name]) for name in sorted(graph.nodes)}
    metadata = {key: graph.metadata[key] for key in sorted(graph.metadata)}
    return nir.NIRGraph(nodes=nodes, edges=graph.edges, metadata=metadata, type_check=False)


def _arrays(node: Any) -> Any:
    result = copy.copy(node)
    for field, value in vars(node).items():
        if isinstance(value, (tuple, list)):
            setattr(result, field, np.asarray(value))
    return result
