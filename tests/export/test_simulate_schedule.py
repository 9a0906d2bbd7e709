"""Which edges of a loop look back a step: loop nesting, with and without Delays, by hand."""

from __future__ import annotations

import pytest

from neurokd.errors import UnsupportedNodeError
from neurokd.export.simulate_schedule import check_loops, feedback_edges, order

LOOPS: dict[str, tuple[str, str, str]] = {
    "none": ("ia ab", "", ""),
    "one": ("ia ab ba", "", "ba"),
    "entered at both nodes": ("ia ib ab ba", "", "ab ba"),
    "one in the other": ("ia ab bc cb ca", "", "ca cb"),
    "nothing enters it": ("ab ba", "", "ab ba"),
    "and another that something enters": ("ab ba ic cd de ed dc", "", "ab ba dc ed"),
    "closed by a Delay": ("ia ad da", "d", ""),
    "a Delay back into a loop": ("ia ab ba bd db", "d", "ba"),
    "a Delay and a layer back into a loop": ("ia ab ba bd dw wb", "d", "ba"),
    "entered at its Delay": ("id da ab ba bd", "d", "ba"),
    "a Delay from outside": ("id da ab ba", "d", "ba"),
    "a Delay from outside, and without": ("ia id db ab ba", "d", "ab ba"),
    "inside a loop that a Delay closes": ("ix xa ab ba bd dx", "d", "ba"),
    "the same, behind a Delay": ("ie ex xa ab ba bd dx", "de", "ba"),
    "reached through its own Delay only": ("ix xd da ab ba bx", "d", "ba"),
}


@pytest.mark.parametrize("name", LOOPS)
def test_feedback_edges(name: str) -> None:
    edges, late, expected = LOOPS[name]
    given = [(edge[0], edge[1]) for edge in edges.split()]
    found = feedback_edges(given, set(late))
    assert found == {(edge[0], edge[1]) for edge in expected.split()}
    assert feedback_edges(given[::-1], set(late)) == found
    sources: dict[str, list[str]] = {}
    for source, target in given:
        if target not in late and (source, target) not in found:
            sources.setdefault(target, []).append(source)
    order(sources)  # what is left has one


def test_a_loop_needs_state() -> None:
    check_loops([("a", "b"), ("b", "a")], {"b"})
    with pytest.raises(UnsupportedNodeError, match="no neuron and no delay"):
        check_loops([("a", "b"), ("b", "a")], set())
