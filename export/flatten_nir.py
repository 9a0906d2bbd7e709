"""A NIR graph without graphs inside it: the same nodes and edges, on one level."""

from __future__ import annotations

import nir

from neurokd.errors import UnsupportedNodeError

Edge = tuple[str, str]


def flatten_nir(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Put the nodes of nested graphs in their place, named ``outer.inner``; the input is unchanged.

    An inner graph's Input and Output disappear: what led to one leads to its successors. A graph
    without nested graphs is returned as it is.

    Raises: `UnsupportedNodeError` for an inner graph without exactly one input and one output
    (NIR's edges name nodes, so more of them could not be told apart), for one with a dt of its
    own, and where flattening would make two nodes or two edges the same.
    """
    while True:
        inner = next((n for n, node in graph.nodes.items() if _is_graph(node)), None)
        if inner is None:
            return graph
        graph = _flatten_one(graph, inner)


def _is_graph(node: object) -> bool:
    return isinstance(node, nir.NIRGraph)


def _flatten_one(graph: nir.NIRGraph, name: str) -> nir.NIRGraph:
    inner = graph.nodes[name]
    place = f"node {name!r}"
    ends = {kind: _end(inner, kind, place) for kind in (nir.Input, nir.Output)}
    if "dt" in inner.metadata and inner.metadata["dt"] != graph.metadata.get("dt"):
        raise UnsupportedNodeError(
            "the graph inside this node has a dt of its own",
            where=place,
            expected=f"dt = {graph.metadata.get('dt', 'none')}",
            found=str(inner.metadata["dt"]),
        )
    nodes = {key: node for key, node in graph.nodes.items() if key != name}
    for key, node in inner.nodes.items():
        flat = f"{name}.{key}"
        if flat in nodes:
            raise UnsupportedNodeError(
                "two nodes would have the same name",
                where=f"node {flat!r}",
                expected="names that differ once the nested graph is flat",
                found=flat,
            )
        nodes[flat] = node
    entry, leaving = (f"{name}.{ends[kind]}" for kind in (nir.Input, nir.Output))
    edges = [(leaving if s == name else s, entry if t == name else t) for s, t in graph.edges]
    edges += [(f"{name}.{s}", f"{name}.{t}") for s, t in inner.edges]
    for boundary in (entry, leaving):
        del nodes[boundary]
        edges = _splice(edges, boundary, place)
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=dict(graph.metadata), type_check=False)


def _end(inner: nir.NIRGraph, kind: type, place: str) -> str:
    names = [name for name, node in inner.nodes.items() if isinstance(node, kind)]
    if len(names) != 1:
        raise UnsupportedNodeError(
            f"the graph inside this node needs exactly one {kind.__name__} node",
            where=place,
            expected=f"one {kind.__name__}",
            found=", ".join(names)[:200] or "none",
        )
    return str(names[0])


def _splice(edges: list[Edge], gone: str, place: str) -> list[Edge]:
    """Take a node out: each of its predecessors leads to each of its successors."""
    before = [s for s, t in edges if t == gone]
    after = [t for s, t in edges if s == gone]
    result = [edge for edge in edges if gone not in edge]
    if len(before) * len(after) > 100_000:
        raise UnsupportedNodeError(
            "too many edges meet in the graph of this node",
            where=place,
            expected="≤ 100000",
            found=f"{len(before)} × {len(after)}",
        )
    result += [(s, t) for s in before for t in after]
    if len(set(result)) < len(result):
        raise UnsupportedNodeError(
            "flattening the graph of this node would make two edges the same",
            where=place,
            expected="each edge once",
            found=f"{len(result) - len(set(result))} twice",
            remedy="put a Scale of 1 on one of the two paths",
        )
    return result
