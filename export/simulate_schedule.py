"""When each node of a NIR graph is computed, and which edges of a loop look back a step."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from graphlib import CycleError, TopologicalSorter

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from neurokd.errors import UnsupportedNodeError

Edge = tuple[str, str]


def feedback_edges(edges: Iterable[Edge], late: Collection[str] = ()) -> set[Edge]:
    """The edges that carry the output of the step before, so that the rest has an order.

    In each strongly connected part these are the edges from inside it to the nodes at which it is
    entered from outside; what stays connected in a circle is treated likewise. The choice follows
    from the graph alone, not from the order of its nodes.

    Edges into a ``late`` node, a Delay of at least a step, close no loop within a step, and are
    none of these. What comes back through it enters no loop that is also entered without it: such
    a Delay adds a path and leaves the time that others take as it was.

    Source: B. Steensgaard, "Sequentializing Program Dependence Graphs for Irreducible Programs",
    MSR-TR-93-14 (1993), whose loop nesting this is.
    """
    edges = set(edges)
    remaining = {edge for edge in edges if edge[1] not in late}
    whole, ahead = _parts(edges), _ahead(edges, remaining)
    cut: set[Edge] = set()
    while True:
        part = _parts(remaining)
        inside = {edge for edge in remaining if part[edge[0]] == part[edge[1]]}
        if not inside:
            return cut
        circling = {part[source] for source, _ in inside}
        entries = {
            (s, t) for s, t in remaining | cut if part.get(t) in circling and part.get(s) != part[t]
        }
        first = {(s, t) for s, t in entries if s in ahead or whole[s] != whole[t]}
        entered = {t for _, t in first}
        entered_ahead = {part[name] for name in entered}
        entered |= {t for _, t in entries if part[t] not in entered_ahead}
        # a part that nothing enters would otherwise stay as it is for ever
        shut = circling - {part[name] for name in entered}
        back = {(s, t) for s, t in inside if t in entered or part[t] in shut}
        cut |= back
        remaining -= back


def _ahead(edges: set[Edge], instant: set[Edge]) -> set[str]:
    """The nodes that what enters their strongly connected part reaches within a step."""
    whole = _parts(edges)
    following: dict[str, list[str]] = {}
    for source, target in instant:
        following.setdefault(source, []).append(target)
    frontier = {target for source, target in instant if whole[source] != whole[target]}
    reached = set(frontier)
    while frontier:
        frontier = {t for s in frontier for t in following.get(s, [])} - reached
        reached |= frontier
    return reached


def check_loops(edges: Iterable[Edge], stateful: set[str]) -> None:
    """Every loop holds state; without it, its value would be defined by itself.

    Raises: `UnsupportedNodeError` naming the loop.
    """
    instant: dict[str, list[str]] = {}
    for source, target in edges:
        if source not in stateful and target not in stateful:
            instant.setdefault(target, []).append(source)
    order(instant)


def order(sources: dict[str, list[str]]) -> list[str]:
    """Each node after those that it is computed from.

    Raises: `UnsupportedNodeError` naming a loop.
    """
    try:
        return list(TopologicalSorter(sources).static_order())
    except CycleError as error:
        raise UnsupportedNodeError(
            "a feedback loop holds no neuron and no delay",
            where="NIR graph",
            expected="state in every loop",
            found=" → ".join(error.args[1]),
            remedy="put a neuron, or a Delay of at least a step, into the loop",
        ) from error


def _parts(edges: set[Edge]) -> dict[str, int]:
    """The number of the strongly connected part that each node belongs to."""
    if not edges:
        return {}
    names = sorted({name for edge in edges for name in edge})
    index = {name: i for i, name in enumerate(names)}
    rows = [index[source] for source, _ in edges]
    columns = [index[target] for _, target in edges]
    matrix = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names)))
    _, labels = connected_components(matrix, directed=True, connection="strong")
    return {name: int(labels[i]) for name, i in index.items()}
