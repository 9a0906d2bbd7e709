"""Figures: labels that do not overlap, the same bytes each time."""

from __future__ import annotations

import base64

import pytest

from neurokd.report.figure import axes, embed, spread, style


def test_far_positions_stay() -> None:
    assert spread([0.9, 0.1, 0.5], 0.2) == [0.9, 0.1, 0.5]


def test_close_positions_part_around_their_mean() -> None:
    assert spread([0.52, 0.5], 0.1) == pytest.approx([0.56, 0.46])


def test_groups_merge_until_none_overlap() -> None:
    # 0.5 and 0.51 part to 0.455 and 0.555, which collides with 0.6: all three centre on 0.53667.
    moved = spread([0.5, 0.51, 0.6], 0.1)
    assert moved == pytest.approx([0.4366667, 0.5366667, 0.6366667])


def test_no_positions() -> None:
    assert spread([], 0.1) == []


def test_the_same_data_give_the_same_self_contained_svg() -> None:
    def draw() -> str:
        with style():
            figure, panel = axes(2.0)
            panel.plot([1, 2], [3, 4])
            return embed(figure, "a line", "caption").uri

    first = draw()
    assert first == draw()
    head, _, body = first.partition(",")
    assert head == "data:image/svg+xml;base64"
    svg = base64.b64decode(body).decode()
    assert "<svg" in svg and 'href="http' not in svg
