"""`StreamState`: where a learner stands on its stream, as its checkpoint keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from neurokd import atomic
from neurokd.config import ContinualConfig, write_config
from neurokd.continual.learner import Learner
from neurokd.continual.probe import Probe
from neurokd.errors import FileFormatError, UsageError

FAMILY, FORMAT = "neurokd.stream/", "neurokd.stream/1"


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
    """Write the state in one step; tensors as safetensors, the rest as JSON in its header."""
    tensors = {"rng.loop": state.generator.get_state()}
    tensors |= {f"learner.{name}": value for name, value in state.learner.state().items()}
    tensors |= {f"probe.{name}": value for name, value in state.probe.state().items()}
    header = {"format": FORMAT, "config": write_config(config)}
    header |= {name: getattr(state, name) for name in _SCALARS}
    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    atomic.write_bytes(path, save(copies, metadata={"neurokd": json.dumps(header)}))


def load_stream_state(path: Path, state: StreamState, config: ContinualConfig) -> None:
    """Put a saved state back in place.

    Raises: `FileFormatError` for a missing, broken or foreign file, `UsageError` if it belongs to
    another configuration.
    """
    header, tensors = _read(path, config)
    state.learner.load_state(_below("learner.", tensors))
    state.probe.load_state(_below("probe.", tensors))
    state.generator.set_state(tensors["rng.loop"])
    for name in _SCALARS:
        setattr(state, name, header[name])


def require_stream(path: Path, config: ContinualConfig) -> None:
    """Raise what `load_stream_state` raises about the file, without loading its tensors."""
    _read(path, config, with_tensors=False)


def _read(
    path: Path, config: ContinualConfig, *, with_tensors: bool = True
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileFormatError(
            "there is nothing to resume", where=str(path), remedy="start without --resume"
        )
    try:
        with safe_open(str(path), framework="pt") as stream:
            header = json.loads((stream.metadata() or {}).get("neurokd", "null"))
            names = stream.keys() if with_tensors else ()
            tensors = {name: stream.get_tensor(name) for name in names}
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise FileFormatError(
            "this is not a complete checkpoint", where=str(path), found=str(error)
        ) from error
    found = header.get("format") if isinstance(header, dict) else None
    if found != FORMAT:
        known = isinstance(found, str) and found.startswith(FAMILY)
        raise FileFormatError(
            "the checkpoint was written by another version of neurokd"
            if known
            else "this is not the checkpoint of a stream",
            where=str(path),
            expected=FORMAT,
            found=str(found) if known else "",
            remedy="start again without --resume" if known else "",
        )
    if header["config"] != write_config(config):
        raise UsageError(
            "the checkpoint belongs to another configuration",
            where=str(path),
            remedy="resume with the configuration and --set of the interrupted run",
        )
    return header, tensors


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
