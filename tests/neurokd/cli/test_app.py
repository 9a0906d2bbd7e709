"""The command line as a whole: help, usage errors, exit statuses, progress."""

from __future__ import annotations

import subprocess
import sys

import pytest

from neurokd import __version__
from neurokd.cli import console
from neurokd.cli.app import COMMANDS, main
from neurokd.cli.failure import guard
from neurokd.errors import FileFormatError


def _one_line(text: str) -> str:
    assert text.startswith("neurokd: ") and text.count("\n") == 1 and text.endswith("\n")
    return text


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert f"  {name} " in out
        assert summary in out  # in full: the line is not cut


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"neurokd {name} " in out
    assert COMMANDS[name] in " ".join(out.split())


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "onnx", "nir", "matplotlib", "scipy", "pydantic")
    code = (
        "import sys; from neurokd.cli.app import main; main(['--help'])\n"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"neurokd {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "Missing command"),
        (["nonsense"], "No such command 'nonsense'"),
        (["doctro"], "'doctor'"),  # the near miss is named
        (["doctor", "--nonsense"], "--nonsense"),
        (["doctor", "more"], "more"),
        (["inspect"], "'file'"),
        (["lava", "destroy"], "destroy"),
    ],
)
def test_usage_error_is_one_line_and_status_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert named in _one_line(captured.err)
    assert captured.out == ""


@pytest.mark.parametrize("position", [0, 1, 2])
def test_debug_goes_anywhere_and_shows_the_traceback(
    position: int, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["inspect", "missing.nir"]
    arguments.insert(position, "--debug")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and "FileFormatError" in err
    assert err.splitlines()[-1] == "neurokd: missing.nir: no such file"


def _raising(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (FileFormatError("broken", where="a.nir", remedy="mend it"), 2, "a.nir: broken; mend it"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "x: No such file or directory"),
        (OSError("odd"), 2, "odd"),
        (KeyError("k"), 70, "this is a bug of neurokd: KeyError: 'k'; --debug shows where"),
        (ValueError("two\nlines"), 70, "ValueError: two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_error_is_one_line_and_a_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guard(lambda: _raising(error), debug=False) == status
    assert line in _one_line(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["doctor", "train"])
def test_control_c_is_said_in_a_line(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neurokd.cli.doctor.examine", interrupted)
    monkeypatch.setattr("neurokd.cli.train.read_config", interrupted)
    assert main([name] if name == "doctor" else [name, "mnist-student"]) == 130
    assert _one_line(capsys.readouterr().err) == "neurokd: interrupted\n"


def test_a_verdict_keeps_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(lambda: 1, debug=False) == 1
    assert capsys.readouterr().err == ""


def test_a_reader_that_goes_away_is_not_an_error() -> None:
    command = [sys.executable, "-m", "neurokd", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) in (0, 1, 141)


def test_progress_is_a_line_a_quarter_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with console.progress("training", total=8) as advance:
        for step in range(8):
            advance(1, f"loss {step}")
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert [line.split(" after ")[0] for line in lines] == [
        "training: 2/8", "training: 4/8", "training: 6/8", "training: 8/8",
    ]  # fmt: skip
    assert lines[-1].endswith("loss 7")
    assert captured.out == ""


def test_table_aligns_text_left_and_numbers_right() -> None:
    text = console.table([("a", 5), ("long", 100)], headers=("name", "n"))
    assert text.splitlines() == ["name    n", "────  ───", "a       5", "long  100"]


def test_json_refuses_numbers_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        console.result_json({"accuracy": float("nan")})
