"""`neurokd presets`: the list, and one configuration with all its keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neurokd.cli.app import main
from neurokd.config import preset_names, read_config


def test_every_preset_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == preset_names()
    assert all(line.endswith(".") for line in lines)


def test_one_preset_is_a_file_to_start_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["presets", "mnist-student", "--set", "recipe.epochs=3"]) == 0
    (tmp_path / "own.toml").write_text(capsys.readouterr().out)
    assert read_config(tmp_path / "own.toml") == read_config("mnist-student", ["recipe.epochs=3"])
    assert main(["presets", str(tmp_path / "own.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["epochs"] == 3


@pytest.mark.parametrize("words", [["--set", "seed=1"], ["mnist"], ["mnist-student", "--set", "x"]])
def test_bad_input_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == ""
