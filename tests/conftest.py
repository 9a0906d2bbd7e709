"""What every test shares: two threads, real data where it is, real Lava where it can run."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

# Before anything imports torch or matplotlib.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI") == "true"


def unavailable(reason: str) -> None:
    """Skip, but fail in CI, where everything has to be there."""
    if IN_CI:
        pytest.fail(f"{reason} (CI=true: this is no reason to skip)", pytrace=False)
    pytest.skip(reason)


@cache
def _lava_status() -> tuple[bool, str]:
    from neurokd.hardware.lava_environment import lava_status

    status = lava_status()
    return status.available, status.reason or ""


@pytest.fixture
def lava_available() -> None:
    """Real Lava can be run; what `neurokd lava status` says decides."""
    available, reason = _lava_status()
    if not available:
        unavailable(f"no Lava: {reason}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `lava` need it, without each of them saying so again."""
    for item in items:
        if item.get_closest_marker("lava") and isinstance(item, pytest.Function):
            item.fixturenames.insert(0, "lava_available")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` are skipped where there is none: no part of the default run needs it."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def neurokd_data() -> Path:
    """The folder of the real data sets: NEUROKD_DATA, else unpacked once from ../shared."""
    if named := os.environ.get("NEUROKD_DATA"):
        return Path(named)
    unpack = ROOT.parent / "shared" / "tools" / "unpack-data"
    if not unpack.is_file():
        unavailable("no real data: NEUROKD_DATA is not set and ../shared is not there")
    from neurokd.hardware.lava_environment import cache_folder

    key = hashlib.sha256(unpack.read_bytes()).hexdigest()[:16]
    folder = cache_folder() / f"data-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if not folder.is_dir():
            beside = folder.with_suffix(".partial")
            shutil.rmtree(beside, ignore_errors=True)
            subprocess.run([sys.executable, str(unpack), str(beside)], check=True)
            os.replace(beside, folder)
    return folder
