"""Reading a NIR file nobody has vouched for: measured before it is read, checked before use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nir
import numpy as np

from neurokd.errors import FileFormatError, NeurokdError
from neurokd.export.flatten_nir import flatten_nir
from neurokd.export.hdf5_tree import read_hdf5_tree
from neurokd.export.nir_structure import DEFAULT_DT, node_shapes

_LISTED = 200
"""Characters of a file's own text that an error repeats."""
_PRIMITIVES = {
    name for name in nir.ir.__all__ if name not in ("NIRNode", "str2NIRNode", "dict2NIRNode")
}


def read_nir(path: str | Path) -> nir.NIRGraph:
    """The graph in a NIR file; cycles are allowed, nested graphs are flattened.

    The file is read once, into memory; links are never followed and data sets are measured before
    any of them is materialised. Every node's type, shapes, finiteness, time constants and
    connection to input and output are checked; nothing is invented.

    Raises: `FileFormatError` naming file, node, expected and found.
    """
    path = Path(path)
    try:
        return checked(_graph(read_hdf5_tree(path), ""))
    except NeurokdError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise FileFormatError(
            error.what,
            where=_shown(where, _LISTED + len(str(path))),
            expected=_shown(error.expected),
            found=_shown(error.found),
            remedy=error.remedy,
        ) from error
    except Exception as error:  # h5py and nir raise ten kinds of exception at damaged bytes
        raise FileFormatError(
            "this is not a complete NIR file",
            where=str(path),
            expected="an HDF5 file written by nir",
            found=_shown(f"{type(error).__name__}: {error}"),
        ) from error


def _graph(tree: dict[str, Any], place: str) -> nir.NIRGraph:
    """The graph of a file's ``node`` group, or one nested in it at ``place``."""
    node = tree if place else tree.get("node")
    where = f"node {place!r}" if place else ""
    if not isinstance(node, dict) or node.get("type") != "NIRGraph":
        raise FileFormatError(
            "this HDF5 file holds no NIR graph",
            where=where or "graph",
            expected="node/type = NIRGraph",
            found="none",
        )
    nodes, edges = node.get("nodes"), node.get("edges")
    metadata = node.get("metadata", {})
    surplus = sorted(set(node) - {"type", "nodes", "edges", "metadata"})
    if not (
        isinstance(nodes, dict) and isinstance(edges, np.ndarray) and isinstance(metadata, dict)
    ):
        found = "a graph inside a graph, of which" if place else ""
        raise FileFormatError(
            "the graph is incomplete",
            where=where or "graph",
            expected="nodes, edges and, if at all, a group of metadata",
            found=f"{found} {', '.join(sorted(node))}",
        )
    if surplus:
        raise FileFormatError(
            "the graph has unknown fields",
            where=where or "graph",
            expected="type, nodes, edges, metadata",
            found=", ".join(surplus),
        )
    return nir.NIRGraph(
        nodes={key: _node(f"{place}.{key}" if place else key, nodes[key]) for key in nodes},
        edges=_edges(edges, where),
        metadata=metadata,
        type_check=False,
    )


def _node(name: str, fields: Any) -> Any:
    kind = fields.get("type") if isinstance(fields, dict) else None
    if not isinstance(kind, str):
        raise FileFormatError(
            "this node has no type",
            where=f"node {name!r}",
            expected="a NIR primitive",
            found="none",
            remedy="a node name with '/' is written so: rename the node where it was exported",
        )
    if kind not in _PRIMITIVES:
        raise FileFormatError(
            "unknown node type", where=f"node {name!r}", expected="a NIR primitive", found=kind
        )
    if kind == "NIRGraph":
        return _graph(fields, name)
    if not isinstance(fields.get("metadata", {}), dict):
        raise FileFormatError(
            "metadata is no group",
            where=f"node {name!r}",
            expected="a group",
            found=type(fields["metadata"]).__name__,
        )
    try:
        with np.errstate(all="ignore"):  # nir divides by a stride of zero
            return nir.dict2NIRNode(fields)
    except Exception as error:  # nir's constructors raise at whatever does not fit
        raise FileFormatError(
            "nir cannot build this node",
            where=f"node {name!r}",
            expected=f"the fields of {kind}",
            found=f"{type(error).__name__}: {error}",
        ) from error


def _edges(array: Any, where: str) -> list[tuple[str, str]]:
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "SO":
        raise FileFormatError(
            "edges are not pairs of names",
            where=where or "edges",
            expected="(edges, 2)",
            found=f"{array.shape} of {array.dtype}",
        )
    return [(source.decode(), target.decode()) for source, target in array.tolist()]


def checked(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The graph on one level and fit for use, its nodes' types set; it is changed in place.

    Raises: `NeurokdError` naming the node.
    """
    graph = flatten_nir(graph)
    _check_edges(graph)
    dt = graph.metadata.get("dt", DEFAULT_DT)
    number = np.ndim(dt) == 0 and np.asarray(dt).dtype.kind in "iuf"
    if not (number and np.isfinite(dt) and dt > 0):
        raise FileFormatError("dt is not a time", where="metadata", expected="> 0 s", found=str(dt))
    for name, node in graph.nodes.items():
        _check_values(name, node, float(dt))
    graph.metadata = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in graph.metadata.items()
    }
    shapes = node_shapes(graph)
    for name, node in graph.nodes.items():
        # nir leaves them open where its own inference was not asked
        node.input_type = {"input": np.array(shapes[name].input)}
        node.output_type = {"output": np.array(shapes[name].output)}
    graph._update_input_output_types()
    return graph


def _check_edges(graph: nir.NIRGraph) -> None:
    for kind in (nir.Input, nir.Output):
        if not any(isinstance(node, kind) for node in graph.nodes.values()):
            raise FileFormatError(
                f"the graph has no {kind.__name__} node",
                where="nodes",
                expected=f"one {kind.__name__}",
                found=_listed(graph.nodes) or "none",
            )
    seen: set[tuple[str, str]] = set()
    for edge in graph.edges:
        missing = [end for end in edge if end not in graph.nodes]
        if missing:
            raise FileFormatError(
                "an edge ends at a node that is not there",
                where=f"edge {edge[0]} → {edge[1]}",
                expected=_listed(graph.nodes),
                found=missing[0],
            )
        where, found = f"edge {edge[0]} → {edge[1]}", _shown(f"{edge[0]} → {edge[1]}")
        if edge[0] == edge[1]:
            raise FileFormatError(
                "the node feeds itself",
                where=f"node {edge[0]!r}",
                expected="edges between two nodes",
                found=found,
            )
        if edge in seen:
            raise FileFormatError(
                "the edge is there twice", where=where, expected="each edge once", found=found
            )
        seen.add(edge)
        if isinstance(graph.nodes[edge[1]], nir.Input):
            raise FileFormatError(
                "an edge leads into an input",
                where=f"node {edge[1]!r}",
                expected="no edge into an Input",
                found=found,
            )
        if isinstance(graph.nodes[edge[0]], nir.Output):
            raise FileFormatError(
                "an edge leaves an output",
                where=f"node {edge[0]!r}",
                expected="no edge from an Output",
                found=found,
            )
    inputs = {name for name, node in graph.nodes.items() if isinstance(node, nir.Input)}
    outputs = {name for name, node in graph.nodes.items() if isinstance(node, nir.Output)}
    backwards = [(target, source) for source, target in graph.edges]
    for start, edges, what in (
        (inputs, graph.edges, "no input reaches this node"),
        (outputs, backwards, "this node does not reach an output"),
    ):
        lost = sorted(set(graph.nodes) - _reachable(start, edges))
        if lost:
            raise FileFormatError(
                what,
                where=f"node {lost[0]!r}",
                expected="every node between an input and an output",
                found=_listed(lost),
            )


def _reachable(start: set[str], edges: list[tuple[str, str]]) -> set[str]:
    reached, frontier = set(start), set(start)
    following: dict[str, list[str]] = {}
    for source, target in edges:
        following.setdefault(source, []).append(target)
    while frontier:
        frontier = {t for s in frontier for t in following.get(s, [])} - reached
        reached |= frontier
    return reached


def _check_values(name: str, node: Any, dt: float) -> None:
    where = f"node {name!r}"
    for field, value in vars(node).items():
        if field in ("metadata", "input_type", "output_type") or value is None:
            continue
        if isinstance(value, str) and field == "padding":
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "iufb":
            raise FileFormatError(
                f"{field} holds no numbers",
                where=where,
                expected="numbers",
                found=str(array.dtype),
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FileFormatError(
                f"{field} has values that are not finite",
                where=where,
                expected="finite numbers",
                found=str(array[~np.isfinite(array)].flat[0]),
            )
        if not array.size or not (field.startswith("tau") or field == "delay"):
            continue
        # float32 holds a τ of exactly dt with an error of 1e-7
        least = 0.0 if field == "delay" else dt * (1 - 1e-6)
        if float(array.min()) < least:
            raise FileFormatError(
                f"{field} is shorter than a step" if least else f"{field} is negative",
                where=where,
                expected=f"≥ dt = {dt:g} s" if least else "≥ 0 s",
                found=f"{float(array.min()):g}",
            )


def _listed(names: Iterable[str]) -> str:
    return _shown(", ".join(names))


def _shown(text: str, most: int = _LISTED) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
