"""`neurokd lava`: what it prints about an interpreter that has Lava and about one that has not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurokd.cli.app import main


def test_status_has_exactly_the_promised_fields(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = str(tmp_path / "no-python")
    monkeypatch.setenv("NEUROKD_LAVA_PYTHON", named)
    assert main(["lava", "status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert set(status) == {"available", "python", "lava", "reason"}
    assert status["available"] is False and status["lava"] is None
    assert named in status["reason"]


def test_install_does_not_touch_an_interpreter_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEUROKD_LAVA_PYTHON", str(tmp_path / "no-python"))
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    assert main(["lava", "install"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "NEUROKD_LAVA_PYTHON" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "cache").exists()


@pytest.mark.lava
def test_status_of_real_lava(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lava", "status", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["available"] is True and status["reason"] is None
    assert status["lava"] == "0.10.0"
    assert Path(status["python"]).is_file()
