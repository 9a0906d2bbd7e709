"""Networks of a run folder: the float SDMLP after a task, and the spiking student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from neurokd.config.continual import ContinualConfig
from neurokd.continual.make_learner import build_network
from neurokd.continual.spiking.deployed_data import require_spiking
from neurokd.continual.spiking.from_sdmlp import unset
from neurokd.errors import FileFormatError, UsageError
from neurokd.models.sdmlp import SDMLP
from neurokd.models.spiking_sdmlp import SpikingSDMLP
from neurokd.run import RunFolder, load_state, read_weights

FOLDER = "spiking"


def load_spiking(run: RunFolder) -> SpikingSDMLP:
    """The spiking student after the last task, in evaluation mode.

    Raises: `FileFormatError`, `UsageError` for a run without one.
    """
    return read_student(run.path / FOLDER / "model.safetensors", run.continual_config())


def read_student(path: Path, config: ContinualConfig) -> SpikingSDMLP:
    """A spiking student from its weights; `FileFormatError` if they are not those of one."""
    settings = require_spiking(config, str(path))
    state = read_weights(path, remedy="finish `neurokd continual` with --resume")
    hidden, classifier = (
        _matrix(state, f"pulse.{name}.weight", path) for name in ("hidden", "classifier")
    )
    assert config.network.k is not None  # as the configuration was checked
    with torch.random.fork_rng(devices=[]):
        student = SpikingSDMLP(
            hidden.shape[1],
            hidden.shape[0],
            classifier.shape[0],
            config.network.k,
            unset(settings),
        )
    load_state(student, state, path)
    return student.eval()


def read_sdmlp(
    path: Path, config: ContinualConfig, sample_shape: Sequence[int], classes: int
) -> SDMLP:
    """The float network after a task; `FileFormatError` if these are not its weights."""
    network = build_network(config, sample_shape, classes)
    if not isinstance(network, SDMLP):
        raise UsageError(
            "the spiking student is one of sdmlp", where=str(path), found=config.network.name
        )
    load_state(network, read_weights(path, remedy="finish the stream with --resume"), path)
    return network.eval()


def _matrix(state: dict[str, Tensor], name: str, path: Path) -> Tensor:
    found = state.get(name)
    if found is None or found.ndim != 2:
        raise FileFormatError(
            "these are not the weights of a spiking SDMLP", where=str(path), expected=name
        )
    return found
