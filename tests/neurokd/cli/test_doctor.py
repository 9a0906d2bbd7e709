"""`neurokd doctor`: the worlds it tells apart, and what it says will work."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from neurokd.cli.app import main
from neurokd.cli.doctor import world


def _report(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert isinstance(report, dict)
    return report


def _capability(report: dict[str, object], name: str) -> dict[str, object]:
    capabilities = report["capabilities"]
    assert isinstance(capabilities, list)
    return next(c for c in capabilities if c["name"] == name)


@pytest.mark.parametrize(
    ("python", "lava_dl", "name"),
    [
        ((3, 13), None, "modern"),
        ((3, 11), None, "modern"),
        ((3, 10), "0.6.0", "full"),
        ((3, 10), None, "Python 3.10 without lava-dl"),
    ],
)
def test_worlds(python: tuple[int, int], lava_dl: str | None, name: str) -> None:
    assert world(python, {"lava-dl": lava_dl}).startswith(name)


def test_versions_are_those_installed(capsys: pytest.CaptureFixture[str]) -> None:
    report = _report(capsys)
    assert report["python"] == platform.python_version()
    packages = report["packages"]
    assert isinstance(packages, dict)
    assert packages["torch"] == version("torch")
    assert packages["nir"] == version("nir")


def test_unusable_lava_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEUROKD_LAVA_PYTHON", str(tmp_path / "python"))
    lava = _capability(_report(capsys), "run on Lava")
    assert lava["works"] is False
    assert str(tmp_path / "python") in str(lava["reason"])


@pytest.mark.parametrize("present", [True, False])
def test_data_folder(
    present: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if present:
        (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path))
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    report = _report(capsys)
    data = report["data"]
    assert isinstance(data, dict)
    assert data["sets"]["mnist"] is present and data["sets"]["mnist-subset"] is True


def test_cache_folder_is_the_one_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path))
    assert _report(capsys)["cache"] == str(tmp_path)


def test_text_says_what_will_not_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NEUROKD_DATA", raising=False)
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "data sets here: mnist-subset\ndownloaded on first use: mnist, fashion-mnist, " in out
    assert "yes  run on the emulator" in out
