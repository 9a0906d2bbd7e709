"""`StreamState`: where a learner stands on its stream, as its checkpoint keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from neurokd.checkpoint_file import CheckpointFile, below, under
from neurokd.config import ContinualConfig
from neurokd.continual.learner import Learner
from neurokd.continual.probe import Probe

FORMAT = "neurokd.stream/1"


@dataclass
class StreamState:
    """Everything that changes: after ``epoch`` complete epochs of task ``task``.

    ``matrix[i][j]`` is the accuracy on the test samples of task j after task i, ``before`` that of
    the network before it learned anything, ``validation`` as ``matrix`` on samples held out.
    """

    learner: Learner
    probe: Probe
    generator: torch.Generator
    task: int = 0
    epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    matrix: list[list[float]] = field(default_factory=list)
    validation: list[list[float]] = field(default_factory=list)


_SCALARS = ("task", "epoch", "rows", "before", "matrix", "validation")


def save_stream(path: Path, state: StreamState, config: ContinualConfig) -> None:
    """Write the state in one step."""
    tensors = {"rng.loop": state.generator.get_state()}
    tensors |= under("learner.", state.learner.state())
    tensors |= under("probe.", state.probe.state())
    CheckpointFile(path, FORMAT).write(
        config, tensors, {name: getattr(state, name) for name in _SCALARS}
    )


def load_stream_state(path: Path, state: StreamState, config: ContinualConfig) -> None:
    """Put a saved state back in place. Raises: as `CheckpointFile.read`."""
    header, tensors = CheckpointFile(path, FORMAT).read(config)
    state.learner.load_state(below("learner.", tensors))
    state.probe.load_state(below("probe.", tensors))
    state.generator.set_state(tensors["rng.loop"])
    for name in _SCALARS:
        setattr(state, name, header[name])


def require_stream(path: Path, config: ContinualConfig) -> None:
    """Raise what `load_stream_state` raises about the file, without loading its tensors."""
    CheckpointFile(path, FORMAT).read(config, with_tensors=False)
