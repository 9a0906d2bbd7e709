from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from neurokd.data.folder import data_folder, find_data
from neurokd.errors import UsageError

if TYPE_CHECKING:
    from neurokd.data.published import PublishedSet
    from tests.neurokd.data.conftest import FileServer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NEUROKD_DATA", raising=False)
    return tmp_path / "cache"


def test_what_the_user_names_comes_first(
    plain: PublishedSet,
    server: FileServer,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "mine" / "Plain" / "raw").mkdir(parents=True)
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path / "mine"))
    assert data_folder(plain) == tmp_path / "mine" / "Plain" / "raw"
    assert find_data(plain) == tmp_path / "mine" / "Plain" / "raw"
    assert not server.requests and not cache.exists()


def test_without_a_folder_it_is_downloaded_to_the_cache(
    plain: PublishedSet, server: FileServer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = replace(plain, base_url="http://192.0.2.1")
    assert find_data(plain) is None
    assert data_folder(elsewhere, base_url=server.url) == cache / "data" / "Plain" / "raw"
    assert "NEUROKD_DATA" not in capsys.readouterr().err
    assert data_folder(elsewhere) == find_data(plain)  # no second download, from wherever
    assert sum(server.requests.values()) == 2


def test_a_set_missing_in_the_folder_is_downloaded_and_said_so(
    plain: PublishedSet,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path / "mine"))
    assert data_folder(plain) == cache / "data" / "Plain" / "raw"
    assert f"plain: NEUROKD_DATA={tmp_path / 'mine'} has no Plain/raw" in capsys.readouterr().err
    assert not list((tmp_path / "mine").iterdir())


def test_a_folder_that_is_not_there_is_refused(
    plain: PublishedSet, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROKD_DATA", str(tmp_path / "mine"))
    with pytest.raises(UsageError, match="NEUROKD_DATA must name a folder"):
        data_folder(plain)
    assert not server.requests
