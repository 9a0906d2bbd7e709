"""Checkpoints: everything that a training run needs to go on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from neurokd import atomic
from neurokd.config import TrainConfig, write_config
from neurokd.errors import FileFormatError, UsageError

FORMAT = "neurokd.checkpoint/1"


@dataclass
class TrainingState:
    """Network, optimiser, schedule, random sources and metrics after ``epoch`` complete epochs."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    epoch: int
    metrics: list[dict[str, Any]]


def save_checkpoint(path: Path, state: TrainingState, config: TrainConfig) -> None:
    """Write the state; tensors as safetensors, the rest as JSON in its header."""
    optimizer = state.optimizer.state_dict()
    tensors: dict[str, Tensor] = {
        "rng.loop": state.generator.get_state(),
        "rng.global": torch.get_rng_state(),
    }
    tensors.update({f"model.{k}": v for k, v in state.model.state_dict().items()})
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


def load_checkpoint(path: Path, state: TrainingState, config: TrainConfig) -> None:
    """Put a saved state back in place.

    Raises: `FileFormatError` for a missing or foreign file, `UsageError` if it belongs to another
    configuration.
    """
    if not path.is_file():
        raise FileFormatError(
            "there is nothing to resume", where=str(path), remedy="start without --resume"
        )
    try:
        with safe_open(str(path), framework="pt") as stream:
            header = json.loads((stream.metadata() or {}).get("neurokd", "null"))
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise FileFormatError(
            "this is not a complete checkpoint", where=str(path), found=str(error)
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FileFormatError("this is not a checkpoint", where=str(path), expected=FORMAT)
    if header["config"] != write_config(config):
        raise UsageError(
            "the checkpoint belongs to another configuration",
            where=str(path),
            remedy="resume with the configuration and --set of the interrupted run",
        )
    state.model.load_state_dict(_below("model.", tensors))
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
    state.epoch = header["epoch"]
    state.metrics = header["metrics"]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
