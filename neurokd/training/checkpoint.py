"""Checkpoints: everything that a training run needs to go on as if nothing had happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurokd.checkpoint_file import CheckpointFile, below, under
from neurokd.config import TrainConfig
from neurokd.run import load_state
from neurokd.training.averaged_weights import AveragedWeights
from neurokd.training.selection import Selection

FORMAT = "neurokd.checkpoint/2"


@dataclass
class TrainingState:
    """Everything that changes in training, after ``epoch`` complete epochs.

    ``generator`` is the loop's source of randomness; torch's global ones are saved beside it.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    averaged: AveragedWeights | None = None
    selection: Selection = field(default_factory=Selection)
    epoch: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(path: Path, state: TrainingState, config: TrainConfig) -> None:
    """Write the state in one step; tensors as safetensors, the rest as JSON in its header."""
    optimizer = state.optimizer.state_dict()
    tensors: dict[str, Tensor] = {
        "rng.loop": state.generator.get_state(),
        "rng.global": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    tensors.update(under("model.", state.model.state_dict()))
    tensors.update(under("best.", state.selection.weights))
    if state.averaged is not None:
        tensors.update(under("averaged.", state.averaged.state()))
    scalars: dict[str, Any] = {}
    for index, entries in optimizer["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    header = {
        "epoch": state.epoch,
        "metrics": state.metrics,
        "selection": {
            "epoch": state.selection.epoch,
            "accuracy": state.selection.accuracy,
            "loss": state.selection.loss,
        },
        "param_groups": optimizer["param_groups"],
        "optimizer_scalars": scalars,
        "scheduler": {
            key: value
            for key, value in state.scheduler.state_dict().items()
            if isinstance(value, int | float | str | list | bool | None)
        },
    }
    CheckpointFile(path, FORMAT).write(config, tensors, header)


def require_checkpoint(path: Path, config: TrainConfig) -> None:
    """Raise what `load_checkpoint` raises, without loading the tensors."""
    CheckpointFile(path, FORMAT).read(config, with_tensors=False)


def load_checkpoint(path: Path, state: TrainingState, config: TrainConfig) -> None:
    """Put a saved state back in place.

    Raises: as `CheckpointFile.read`, and `FileFormatError` for a checkpoint of another network.
    """
    header, tensors = CheckpointFile(path, FORMAT).read(config)
    load_state(state.model, below("model.", tensors), path)
    optimizer_state: dict[int, dict[str, Any]] = {}
    for name, value in {**below("optimizer.", tensors), **header["optimizer_scalars"]}.items():
        index, _, key = name.partition(".")
        optimizer_state.setdefault(int(index), {})[key] = value
    groups = [
        {key: tuple(value) if key == "betas" else value for key, value in group.items()}
        for group in header["param_groups"]
    ]
    state.optimizer.load_state_dict({"state": optimizer_state, "param_groups": groups})
    state.scheduler.load_state_dict(header["scheduler"])
    state.generator.set_state(tensors["rng.loop"])
    torch.set_rng_state(tensors["rng.global"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    if state.averaged is not None:
        state.averaged.load(below("averaged.", tensors))
    state.selection = Selection(**header["selection"], weights=below("best.", tensors))
    state.epoch = header["epoch"]
    state.metrics = header["metrics"]
