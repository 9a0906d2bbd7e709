"""Progress as lines, where stderr is no terminal."""

from __future__ import annotations

import re

import pytest

from neurokd.cli import console


def test_each_quarter_is_one_line_with_the_expected_end(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work", 8) as advance:
        for done in range(8):
            advance(1, f"note {done}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == console.MILESTONES
    for line, done in zip(lines[:-1], (2, 4, 6), strict=True):
        assert re.fullmatch(rf"work: {done}/8 after \d+ s, about \d+ s more, note {done - 1}", line)
    assert re.fullmatch(r"work: 8/8 after \d+ s, note 7", lines[-1])


def test_work_that_ends_early_says_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    with console.steps("training") as tell:
        tell(2, 8, "loss 1")
    said = capsys.readouterr().err
    assert re.fullmatch(r"training: 2/8 after \d+ s, about \d+ s more, loss 1\n", said)
