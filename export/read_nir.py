"""Reading a NIR file nobody has vouched for: measured before it is read, checked before use."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from nir.serialization import hdf2dict

from neurokd.errors import FileFormatError, NeurokdError
from neurokd.export.hdf5_guard import guard
from neurokd.export.nir_structure import DEFAULT_DT, node_shapes

MAX_FILE_BYTES = 1 << 30


def read_nir(path: str | Path) -> nir.NIRGraph:
    """The graph in a NIR file; cycles are allowed, nested graphs are not.

    The file is read once, into memory; links are never followed and data sets are measured before
    any of them is materialised. Every node's type, shapes, finiteness, time constants and
    connection to input and output are checked; nothing is invented.

    Raises: `FileFormatError` naming file, node, expected and found.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError("no such file", where=str(path))
    if path.stat().st_size > MAX_FILE_BYTES:
        raise FileFormatError(
            "the file is too large",
            where=str(path),
            expected=f"≤ {MAX_FILE_BYTES} bytes",
            found=str(path.stat().st_size),
        )
    content = io.BytesIO(path.read_bytes())
    try:
        with h5py.File(content, "r") as stream:
            guard(stream)
            _check_layout(stream)
            _check_nodes(stream)
        graph = nir.read(content, type_check=False)
        _check_graph(graph)
    except NeurokdError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise FileFormatError(
            error.what, where=where, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
    except Exception as error:  # h5py and nir raise ten kinds of exception at damaged bytes
        raise FileFormatError(
            "this is not a complete NIR file",
            where=str(path),
            expected="an HDF5 file written by nir",
            found=f"{type(error).__name__}: {error}",
        ) from error
    return graph


def _check_layout(stream: h5py.File) -> None:
    """The groups nir expects, before nir meets them."""
    node = stream.get("node")
    if not isinstance(node, h5py.Group) or _text(node, "type") != "NIRGraph":
        raise FileFormatError(
            "this HDF5 file holds no NIR graph", expected="node/type = NIRGraph", found="none"
        )
    nodes = node.get("nodes")
    if not isinstance(nodes, h5py.Group) or not isinstance(node.get("edges"), h5py.Dataset):
        raise FileFormatError(
            "the graph is incomplete",
            expected="node/nodes and node/edges",
            found=", ".join(sorted(node)),
        )
    known = [kind for kind in nir.ir.__all__ if kind not in ("NIRNode", "NIRGraph")]
    for name, group in nodes.items():
        kind = _text(group, "type") if isinstance(group, h5py.Group) else None
        if kind is None:
            raise FileFormatError(
                "this node has no type",
                where=f"node {name!r}",
                expected="a NIR primitive",
                found="none",
                remedy="a node name with '/' is written so: rename the node where it was exported",
            )
        if kind == "NIRGraph":
            raise FileFormatError(
                "graphs inside a graph are not supported",
                where=f"node {name!r}",
                remedy="flatten the graph where it was exported",
            )
        if kind not in known or kind.startswith(("str2", "dict2")):
            raise FileFormatError(
                "unknown node type", where=f"node {name!r}", expected="a NIR primitive", found=kind
            )
    edges = node["edges"]
    if edges.size and (edges.ndim != 2 or edges.shape[1] != 2):
        raise FileFormatError(
            "edges are not pairs", where="edges", expected="(edges, 2)", found=str(edges.shape)
        )


def _check_nodes(stream: h5py.File) -> None:
    """Each node alone, so that an error of nir's names it."""
    for name, group in stream["node/nodes"].items():
        try:
            nir.dict2NIRNode(hdf2dict(group))
        except Exception as error:  # nir's constructors raise at whatever does not fit
            raise FileFormatError(
                "nir cannot build this node",
                where=f"node {name!r}",
                expected=f"the fields of {_text(group, 'type')}",
                found=f"{type(error).__name__}: {error}",
            ) from error


def _text(group: h5py.Group, key: str) -> str | None:
    entry = group.get(key)
    if not isinstance(entry, h5py.Dataset) or entry.shape != ():
        return None
    value = entry[()]
    return value.decode() if isinstance(value, bytes) else str(value)


def _check_graph(graph: nir.NIRGraph) -> None:
    _check_edges(graph)
    dt = graph.metadata.get("dt", DEFAULT_DT)
    if not (np.ndim(dt) == 0 and np.isreal(dt) and np.isfinite(dt) and dt > 0):
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


def _check_edges(graph: nir.NIRGraph) -> None:
    for kind in (nir.Input, nir.Output):
        if not any(isinstance(node, kind) for node in graph.nodes.values()):
            raise FileFormatError(
                f"the graph has no {kind.__name__} node",
                where="nodes",
                expected=f"one {kind.__name__}",
                found=", ".join(graph.nodes) or "none",
            )
    seen: set[tuple[str, str]] = set()
    for edge in graph.edges:
        missing = [end for end in edge if end not in graph.nodes]
        if missing:
            raise FileFormatError(
                "an edge ends at a node that is not there",
                where=f"edge {edge[0]} → {edge[1]}",
                expected=", ".join(graph.nodes),
                found=missing[0],
            )
        if edge[0] == edge[1]:
            raise FileFormatError("the node feeds itself", where=f"node {edge[0]!r}")
        if edge in seen:
            raise FileFormatError("the edge is there twice", where=f"edge {edge[0]} → {edge[1]}")
        seen.add(edge)
    inputs = {name for name, node in graph.nodes.items() if isinstance(node, nir.Input)}
    outputs = {name for name, node in graph.nodes.items() if isinstance(node, nir.Output)}
    backwards = [(target, source) for source, target in graph.edges]
    for start, edges, what in (
        (inputs, graph.edges, "no input reaches this node"),
        (outputs, backwards, "this node does not reach an output"),
    ):
        lost = sorted(set(graph.nodes) - _reachable(start, edges))
        if lost:
            raise FileFormatError(what, where=f"node {lost[0]!r}", found=", ".join(lost))


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
    for field, value in vars(node).items():
        if field in ("metadata", "input_type", "output_type") or isinstance(value, str):
            continue
        array = np.asarray(value)
        if value is not None and array.dtype.kind not in "iufb":
            raise FileFormatError(
                f"{field} holds no numbers", where=f"node {name!r}", found=str(array.dtype)
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FileFormatError(
                f"{field} has values that are not finite",
                where=f"node {name!r}",
                expected="finite numbers",
                found=str(array[~np.isfinite(array)].flat[0]),
            )
        # float32 holds a τ of exactly dt with an error of 1e-7
        if field.startswith("tau") and (array < dt * (1 - 1e-6)).any():
            raise FileFormatError(
                f"{field} is shorter than a step",
                where=f"node {name!r}",
                expected=f"≥ dt = {dt:g} s",
                found=f"{array.min():g}",
            )
