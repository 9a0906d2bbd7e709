"""Finding and building Lava's interpreter, with interpreters that are small scripts."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from neurokd.errors import BackendFailedError, BackendUnavailableError
from neurokd.hardware import lava_environment
from neurokd.hardware.lava_environment import (
    LavaStatus,
    environment_folder,
    find_python,
    install_lava,
    lava_status,
)


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


# Stands for a Python 3.10: makes an "environment" of itself, has pip, and has Lava.
WORKING = """
case "$*" in
  *"-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python";;
  *"-m pip"*) echo "Collecting lava-nc";;
  *ensurepip*) echo 3.10;;
  *importlib.metadata*) echo '"0.10.0"';;
esac
"""


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No Lava and no Python 3.10 anywhere; returns the only folder on PATH."""
    monkeypatch.delenv("NEUROKD_LAVA_PYTHON", raising=False)
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for tool in ("mkdir", "cp", "sh", "sleep"):
        (binaries / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(binaries))
    this = script(tmp_path / "this-python", "echo no module named lava >&2; exit 1")
    monkeypatch.setattr(sys, "executable", str(this))
    return binaries


def test_status_of_a_bare_machine() -> None:
    status = lava_status()
    assert (status.available, status.python, status.lava) == (False, None, None)
    assert status.reason is not None and "neurokd lava install" in status.reason


def test_status_as_json() -> None:
    status = LavaStatus(True, "/p", "0.10.0", None)
    expected = {"available": True, "python": "/p", "lava": "0.10.0", "reason": None}
    assert status.to_dict() == expected


def test_the_named_interpreter_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = script(tmp_path / "named", WORKING)
    monkeypatch.setenv("NEUROKD_LAVA_PYTHON", str(named))
    monkeypatch.setattr(sys, "executable", str(script(tmp_path / "other", WORKING)))
    assert lava_status() == LavaStatus(True, str(named), "0.10.0", None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo numpy is missing >&2; exit 1", "numpy is missing"),
        ("echo null", "no lava-nc"),
        ("echo hello", "not a Python"),
        (None, "No such file"),
    ],
)
def test_a_named_interpreter_that_is_broken_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str | None, words: str
) -> None:
    named = tmp_path / "named"
    if body is not None:
        script(named, body)
    monkeypatch.setenv("NEUROKD_LAVA_PYTHON", str(named))
    monkeypatch.setattr(sys, "executable", str(script(tmp_path / "other", WORKING)))
    status = lava_status()
    assert not status.available
    assert status.reason is not None and words in status.reason
    with pytest.raises(BackendUnavailableError, match="unset NEUROKD_LAVA_PYTHON"):
        install_lava()


def test_this_interpreter_if_it_has_lava(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    this = script(tmp_path / "this", WORKING)
    monkeypatch.setattr(sys, "executable", str(this))
    assert lava_status().python == str(this)
    assert install_lava().python == str(this)


def test_without_python_310_it_says_where_it_looked(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with pytest.raises(BackendUnavailableError) as caught:
        install_lava()
    line = caught.value.line()
    for word in ("python3.10 on PATH: none", ".pyenv: none", "uv: none", "uv python install 3.10"):
        assert word in line


def test_a_shim_that_does_not_run_is_passed_over(bare_machine: Path, tmp_path: Path) -> None:
    script(bare_machine / "python3.10", "echo version 3.10 is not installed >&2; exit 127")
    real = script(tmp_path / "home/.pyenv/versions/3.10.13/bin/python", WORKING)
    assert find_python() == str(real)


def test_a_python_of_another_version_is_passed_over(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script(bare_machine / "python3.10", "echo 3.12")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    script(tmp_path / "pyenv/versions/3.10.2/bin/python", "exit 1")
    through_uv = script(tmp_path / "uv-python", WORKING)
    script(bare_machine / "uv", f"echo {through_uv}")
    assert find_python() == str(through_uv)


def test_install_builds_once_and_leaves_only_the_environment(bare_machine: Path) -> None:
    script(bare_machine / "python3.10", WORKING)
    lines: list[str] = []
    status = install_lava(lines.append)
    folder = environment_folder()
    assert status == LavaStatus(True, str(folder / "bin" / "python"), "0.10.0", None)
    assert lava_status() == status
    assert "Collecting lava-nc" in lines
    assert sorted(p.name for p in folder.parent.iterdir()) == sorted([folder.name, "lava.lock"])
    (bare_machine / "python3.10").unlink()
    assert install_lava() == status


def test_a_build_that_was_killed_is_cleared_away(bare_machine: Path) -> None:
    script(bare_machine / "python3.10", WORKING)
    folder = environment_folder()
    half = folder.parent / f".{folder.name}.half"
    half.mkdir(parents=True)
    folder.mkdir()  # renamed, but never checked: no marker
    assert not lava_status().available
    assert install_lava().available
    assert not half.exists()


def test_a_pip_that_fails_is_quoted_and_leaves_nothing(bare_machine: Path) -> None:
    fails = WORKING.replace('echo "Collecting lava-nc"', "echo 'ERROR: no index'; exit 1")
    script(bare_machine / "python3.10", fails)
    with pytest.raises(BackendFailedError, match="pip failed with exit status 1.*ERROR: no index"):
        install_lava()
    assert [p.name for p in environment_folder().parent.iterdir()] == ["lava.lock"]


def test_an_environment_that_does_not_import_lava_does_not_count(bare_machine: Path) -> None:
    broken = WORKING.replace(
        "*importlib.metadata*", "*lava.proc.conv.models*) echo boom; exit 1;; *importlib.metadata*"
    )
    script(bare_machine / "python3.10", broken)
    with pytest.raises(BackendFailedError, match="import of Lava failed.*boom"):
        install_lava()
    assert not lava_status().available


def test_an_environment_whose_python_is_gone_is_built_anew(bare_machine: Path) -> None:
    script(bare_machine / "python3.10", WORKING)
    install_lava()
    (environment_folder() / "bin" / "python").unlink()
    status = lava_status()
    assert not status.available and status.reason is not None and "broken" in status.reason
    assert install_lava().available


def test_the_folder_is_named_by_the_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment_folder()
    pins = tmp_path / "pins.txt"
    pins.write_text("lava-nc==0.10.0\n")
    monkeypatch.setattr(lava_environment, "_REQUIREMENTS", pins)
    digest = hashlib.sha256(b"lava-nc==0.10.0\n\n3.10").hexdigest()
    assert environment_folder().name == f"lava-{digest[:12]}" != before.name
    assert environment_folder().parent == Path(os.environ["NEUROKD_CACHE"])


def test_every_requirement_is_pinned() -> None:
    lines = Path(lava_environment.__file__).with_name("lava_requirements.txt").read_text()
    pins = [line for line in lines.splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins)
    assert {"lava-nc==0.10.0", "safetensors==0.8.0"} <= set(pins)


def test_not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not lava_status().available
    with pytest.raises(BackendUnavailableError, match="needs Linux"):
        install_lava()


@pytest.mark.lava
def test_status_is_true(lava_python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROKD_LAVA_PYTHON", lava_python)
    status = lava_status()
    assert status == LavaStatus(True, lava_python, "0.10.0", None)
    assert json.loads(json.dumps(status.to_dict()))["lava"] == "0.10.0"
