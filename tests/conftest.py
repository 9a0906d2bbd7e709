"""What every test shares: two threads, real data where it is, real Lava where it can run."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from neurokd.hardware.lava_process import LavaWorker

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


@pytest.fixture(scope="session")
def lava_python() -> str:
    """The interpreter that has Lava."""
    from neurokd.hardware.lava_environment import lava_status

    status = lava_status()
    if not status.available or status.python is None:
        unavailable(f"no Lava: {status.reason}")
    assert status.python is not None
    return status.python


@pytest.fixture(scope="session")
def lava_worker(lava_python: str) -> Iterator[LavaWorker]:
    """One worker that serves every test."""
    from neurokd.hardware.lava_process import LavaWorker

    with LavaWorker(lava_python, time_limit_s=120) as worker:
        yield worker


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
def client_pythons() -> dict[str, Path]:
    """The interpreters of spikingjelly and norse, each in an environment that is built once."""
    if sys.version_info < (3, 11):
        pytest.skip("the clients run beside the main environment, on Python 3.11 and later")
    builder = [sys.executable, str(ROOT / ".ci" / "environment.py")]
    pythons = {}
    for client in ("spikingjelly", "norse"):
        built = subprocess.run([*builder, client], capture_output=True, text=True)
        if built.returncode:
            reason = (built.stderr.strip().splitlines() or ["no reason given"])[-1]
            unavailable(f"the environment of {client} cannot be built: {reason}")
        pythons[client] = Path(built.stdout.strip())
    return pythons


@pytest.fixture(scope="session")
def neurokd_data() -> Path:
    """The folder of the real data sets: NEUROKD_DATA, else unpacked once from ../shared."""
    if named := os.environ.get("NEUROKD_DATA"):
        return Path(named)
    unpack = ROOT.parent / "shared" / "tools" / "unpack-data"
    if not unpack.is_file():
        unavailable("no real data: NEUROKD_DATA is not set and ../shared is not there")
    from neurokd.cache import cache_folder

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


TINY = (
    "recipe.batch_size=32",
    "recipe.epochs=3",
    "model.channels=[4,6]",
    "model.kernels=[3,3]",
    "model.strides=[2,2]",
)


"""A student small enough to train in seconds."""


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    import numpy as np

    from neurokd.data import load_data

    data = load_data("mnist-subset:train").first(160)
    folder = tmp_path_factory.mktemp("tiny")
    for split in ("train", "test"):  # the same: what these tests show is not generalisation
        np.savez(folder / f"{split}.npz", x=data.x, y=data.y)
    return str(folder)


@pytest.fixture
def tiny(tiny_data: str) -> list[str]:
    return [*TINY, f"data='{tiny_data}'"]


@pytest.fixture(scope="session")
def trained_run(tiny_data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that was trained for seconds; tests that write into it take a copy."""
    from neurokd.config import read_config
    from neurokd.run import RunFolder
    from neurokd.training import train

    folder = RunFolder(tmp_path_factory.mktemp("runs") / "tiny")
    values = [
        *TINY,
        f"data='{tiny_data}'",
        "model.channels=[8,24]",
        "model.kernels=[5,3]",
        "recipe.learning_rate=0.03",
        "recipe.batch_size=8",
        "augment.max_shift=0",
        "recipe.epochs=40",
    ]
    train(read_config("mnist-student-alone", values), folder)
    return folder.path


@pytest.fixture
def run_copy(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "run"))
