"""A data set and a configuration small enough to train in seconds."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from neurokd.data import load_data

TINY = (
    "recipe.batch_size=32",
    "recipe.epochs=3",
    "model.channels=[4,6]",
    "model.kernels=[3,3]",
    "model.strides=[2,2]",
)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    data = load_data("mnist-subset:train").first(160)
    path: Path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, x=data.x, y=data.y)
    return str(path)


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
        "recipe.max_shift=0",
        "recipe.epochs=40",
    ]
    train(read_config("mnist-student-alone", values), folder)
    return folder.path


@pytest.fixture
def run_copy(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "run"))
