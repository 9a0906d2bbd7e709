"""Real recordings, a cache of its own, and the module beside these tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def single_recordings() -> Path:
    """One real recording of each format."""
    root = Path(__file__).resolve().parents[4]
    folder = root.parent / "shared" / "data" / "events"
    if not folder.is_dir():
        told = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        told(f"no real recordings: {folder} is not there")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("NEUROKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "frames"
