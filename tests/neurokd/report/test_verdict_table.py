"""The reason given for each row, where it is not plain from the page's own test."""

from __future__ import annotations

from dataclasses import replace

from neurokd.report.verdict_table import headline, lines
from neurokd.verify.verdict import Divergence, Identity, Row, Verdict

STUDENT = Row("student", 1000, 974, 0.974, (0.96, 0.98), None, None, None, "reference", None)
LAVA = Row("lava", 50, 49, 0.98, (0.9, 0.99), 1.0, 0.0, 1.0, "identity", False)
FIRST = Divergence("stage0", "u", 3, 1, (1, 2), 5, 6)
IDENTITY = Identity("lava", "emulator", 50, ("u", "v"), ("stage0",), 99, False, FIRST)
VERDICT = Verdict(0.005, 1000, "student", (STUDENT, LAVA), IDENTITY)


def test_the_first_divergence_is_told_in_full() -> None:
    assert headline(VERDICT) == "The verdict does not hold: Lava (integer)."
    assert lines(VERDICT)[1].reason == (
        "Not identical to the emulator. First difference: u of stage0 at chip step 3, sample 1, "
        "neuron [1, 2]: expected 5, found 6."
    )


def test_equal_accuracies_are_said_to_be_equal() -> None:
    row = Row("emulator", 1000, 974, 0.974, (0.96, 0.98), 1.0, 0.0, 1.0, "bar", True)
    line = lines(replace(VERDICT, rows=(STUDENT, row), identity=None))[1]
    assert line.difference == "0.00"
    assert line.reason == (
        "Equal to the student (float) on the same samples; within the tolerance of 0.5 points."
    )
