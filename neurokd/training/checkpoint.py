"""Checkpoints: everything that a training run needs to go on as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from neurokd import atomic
from neurokd.config import TrainConfig, write_config
from neurokd.errors import FileFormatError, UsageError
from neurokd.run import load_state
from neurokd.training.averaged_weights import AveragedWeights
from neurokd.training.selection import Selection

FAMILY, FORMAT = "neurokd.checkpoint/", "neurokd.checkpoint/2"


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
    tensors.update(_under("model.", state.model.state_dict()))
    tensors.update(_under("best.", state.selection.weights))
    if state.averaged is not None:
        tensors.update(_under("averaged.", state.averaged.state()))
    scalars: dict[str, Any] = {}
    for index, entries in optimizer["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    header = {
        "format": FORMAT,
        "config": write_config(config),
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
    contiguous = {
        key: value.detach().clone(memory_format=torch.contiguous_format)
        for key, value in tensors.items()
    }
    atomic.write_bytes(path, save(contiguous, metadata={"neurokd": json.dumps(header)}))


def require_checkpoint(path: Path, config: TrainConfig) -> None:
    """Raise what `load_checkpoint` raises, without loading the tensors."""
    _read(path, config, with_tensors=False)


def load_checkpoint(path: Path, state: TrainingState, config: TrainConfig) -> None:
    """Put a saved state back in place.

    Raises: `FileFormatError` for a missing or foreign file, one of an older format or of another
    network, `UsageError` if it belongs to another configuration.
    """
    header, tensors = _read(path, config)
    load_state(state.model, _below("model.", tensors), path)
    optimizer_state: dict[int, dict[str, Any]] = {}
    for name, value in {**_below("optimizer.", tensors), **header["optimizer_scalars"]}.items():
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
        state.averaged.load(_below("averaged.", tensors))
    state.selection = Selection(**header["selection"], weights=_below("best.", tensors))
    state.epoch = header["epoch"]
    state.metrics = header["metrics"]


def _read(
    path: Path, config: TrainConfig, *, with_tensors: bool = True
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileFormatError(
            "there is nothing to resume", where=str(path), remedy="start without --resume"
        )
    try:
        with safe_open(str(path), framework="pt") as stream:
            header = json.loads((stream.metadata() or {}).get("neurokd", "null"))
            names = stream.keys() if with_tensors else ()
            tensors = {key: stream.get_tensor(key) for key in names}
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise FileFormatError(
            "this is not a complete checkpoint", where=str(path), found=str(error)
        ) from error
    found = header.get("format") if isinstance(header, dict) else None
    if isinstance(found, str) and found.startswith(FAMILY) and found != FORMAT:
        raise FileFormatError(
            "the checkpoint was written by another version of neurokd",
            where=str(path),
            expected=FORMAT,
            found=found,
            remedy="finish the run with that version, or start again without --resume",
        )
    if found != FORMAT:
        raise FileFormatError("this is not a checkpoint", where=str(path), expected=FORMAT)
    if header["config"] != write_config(config):
        raise UsageError(
            "the checkpoint belongs to another configuration",
            where=str(path),
            remedy="resume with the configuration and --set of the interrupted run",
        )
    return header, tensors


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
