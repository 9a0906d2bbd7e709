"""The clients' spikes are ours wherever they support the network; the page is what was measured."""

from __future__ import annotations

from pathlib import Path

import conformance_matrix as matrix
import pytest


@pytest.fixture(scope="module")
def rows(
    client_pythons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[matrix.Row]:
    return matrix.measure(client_pythons, tmp_path_factory.mktemp("matrix"))


def test_no_output_slot_differs_where_a_client_supports_the_network(rows: list[matrix.Row]) -> None:
    supported = 0
    for row in rows:
        for client, profile in row.case.readers.items():
            assert row.answers[client, profile] == "0", (row.case.name, client)
            supported += 1
        for client in row.case.erratic:
            assert "0" not in [row.answers[client, profile] for profile in matrix.PROFILES]
        if row.case.readers:
            assert row.margin >= 1e-6, row.case.name
            assert 0 < row.spikes < row.slots, row.case.name
    assert supported == 24


def test_the_page_is_what_was_measured(rows: list[matrix.Row]) -> None:
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.page(rows), (
        "write it again: .venv/bin/python tests/conformance/conformance_matrix.py"
    )


def test_a_difference_would_be_seen(rows: list[matrix.Row]) -> None:
    """norse reads a recurrent bias from the second step on, and the matrix says so."""
    biased = next(row for row in rows if row.case.name == "recurrent, with a bias")
    assert int(biased.answers["norse", "unit-r"]) > 0
