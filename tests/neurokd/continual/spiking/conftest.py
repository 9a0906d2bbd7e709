"""A small stream of blurred patterns, and an SDMLP that has learned it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neurokd.config import ContinualConfig
from neurokd.continual.learn import learn
from neurokd.data import LabelledData
from neurokd.run import RunFolder

SIDE, CLASSES = 8, 4


def patterns(samples: int, seed: int) -> LabelledData:
    """One random pattern a class, its pixels scaled at random and joined by noise."""
    pattern = np.random.default_rng(7).random((CLASSES, SIDE * SIDE)) ** 3
    random = np.random.default_rng(seed)
    y = np.arange(samples) % CLASSES
    x = pattern[y] * random.uniform(0.6, 1.4, (samples, SIDE * SIDE)) + 0.05 * random.random(
        (samples, SIDE * SIDE)
    )
    return LabelledData("patterns", x.reshape(-1, 1, SIDE, SIDE).astype(np.float32), y)


def pattern_folder(folder: Path) -> Path:
    """The patterns as a folder of data."""
    folder.mkdir(parents=True)
    for split, samples, seed in (("train", 400, 0), ("test", 120, 1)):
        data = patterns(samples, seed)
        np.savez(folder / f"{split}.npz", x=data.x, y=data.y)
    return folder


def stream_config(folder: Path) -> ContinualConfig:
    """Two tasks of two patterns, learned by SDMLP with SSD."""
    return ContinualConfig.model_validate(
        {
            "role": "continual",
            "data": str(folder),
            "network": {"name": "sdmlp", "sizes": [60], "k": 4, "switch_samples": 1000},
            "learning": {"epochs": 10, "batch_size": 20, "learning_rate": 0.3},
            "ssd": {},
            "spiking": {"steps": 12, "epochs": 2, "batch_size": 20, "samples": 60},
        }
    )


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run folder of the stream, without a spiking student."""
    place = tmp_path_factory.mktemp("stream")
    config = stream_config(pattern_folder(place / "patterns"))
    run = RunFolder(place / "run")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        learn(config, run)
    finally:
        torch.set_num_threads(threads)
    return run
