"""The verdict's JSON, its table and what it says as a whole."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from neurokd.errors import FileFormatError
from neurokd.verify.verdict import TABLE_COLUMNS, Divergence, Identity, Row, Verdict

STUDENT = Row("student", 1000, 974, 0.974, (0.962, 0.982), None, None, None, "reference", None)
EMULATOR = Row("emulator", 1000, 971, 0.971, (0.959, 0.98), 0.99, -0.003, 0.6, "within", True)
LAVA = Row("lava", 50, 49, 0.98, (0.895, 0.996), 1.0, 0.0, 1.0, "identical", False)
IDENTITY = Identity(
    "lava",
    "emulator",
    50,
    ("u", "v", "spikes"),
    ("a", "b"),
    1200,
    False,
    Divergence("a", "u", 3, 0, (1, 2), 5, 6),
)
VERDICT = Verdict(0.005, 1000, "student", (STUDENT, EMULATOR, LAVA), IDENTITY)


def test_it_holds_only_if_every_judged_row_holds() -> None:
    assert not VERDICT.holds
    assert replace(VERDICT, rows=(STUDENT, EMULATOR)).holds


def test_the_dictionary_has_the_schema() -> None:
    values = VERDICT.to_dict()
    assert list(values) == ["holds", "tolerance", "samples", "reference", "rows", "identity"]
    assert values["rows"][1] == {
        "backend": "emulator",
        "samples": 1000,
        "correct": 971,
        "accuracy": 0.971,
        "interval": [0.959, 0.98],
        "agreement": 0.99,
        "difference": -0.003,
        "p_value": 0.6,
        "criterion": "within",
        "holds": True,
    }
    assert values["identity"]["first_divergence"]["neuron"] == [1, 2]
    assert replace(VERDICT, identity=None).to_dict()["identity"] is None


def test_json_and_back_is_the_same() -> None:
    values = json.loads(json.dumps(VERDICT.to_dict()))
    assert values == VERDICT.to_dict()
    assert Verdict.from_dict(values) == VERDICT


def test_a_foreign_dictionary_is_refused_by_name() -> None:
    values = VERDICT.to_dict()
    del values["rows"][1]["correct"]
    with pytest.raises(FileFormatError, match=r"v\.json.*rows\.1\.correct"):
        Verdict.from_dict(values, where="v.json")


def test_a_verdict_that_contradicts_its_rows_is_refused() -> None:
    with pytest.raises(FileFormatError, match="contradicts"):
        Verdict.from_dict({**VERDICT.to_dict(), "holds": True})


def test_the_table_is_text_under_its_columns() -> None:
    headings, *rows = VERDICT.table()
    assert headings == list(TABLE_COLUMNS)
    assert [len(row) for row in rows] == [len(headings)] * 3
    assert rows[0] == ["student", "1000", "97.40", "96.20 – 98.20", "", "", "reference"]
    assert rows[1][4:] == ["-0.30", "99.00", "holds"]
    assert rows[2][6] == "does not hold"
