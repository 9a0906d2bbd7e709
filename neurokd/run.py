"""The run folder: what a training run leaves behind, and where later commands add to it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokd import atomic
from neurokd.config import (
    AnyConfig,
    ContinualConfig,
    TrainConfig,
    read_any_config,
    write_config,
)
from neurokd.errors import FileFormatError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "model.safetensors"
RUNS = Path("runs")
_WRAPPER = "module."
DERIVED = (
    WEIGHTS,
    "quantisation.json",
    "finetune",
    "nir",
    "loihi",
    "onnx",
    "profile.json",
    "raster.npz",
    "verdict.json",
    "verdict-onnx.json",
    "report.html",
)
"""What is made from weights, and is out of date once other weights are trained."""


@dataclass(frozen=True)
class RunFolder:
    """``config.toml`` (resolved), ``metrics.jsonl``, ``model.safetensors``, ``last.ckpt``; later
    ``nir/``, ``loihi/``, ``onnx/``, ``profile.json``, ``verdict.json``, ``report.html``."""

    path: Path

    @property
    def weights(self) -> Path:
        """The trained weights; there once training is complete."""
        return self.path / WEIGHTS

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The state after the last complete epoch."""
        return self.path / "last.ckpt"

    def config(self) -> TrainConfig:
        """The resolved configuration of a teacher's or a student's run.

        Raises: `FileFormatError` if this is no run folder, `UsageError` for a run that learned a
        stream of tasks.
        """
        config = self.any_config()
        if not isinstance(config, TrainConfig):
            raise UsageError(
                "this run learned a stream of tasks",
                where=str(self.path),
                expected="the run of `neurokd teach` or `neurokd train`",
                found=f'role = "{config.role}"',
            )
        return config

    def continual_config(self) -> ContinualConfig:
        """The resolved configuration of a run that learned a stream of tasks.

        Raises: `FileFormatError` if this is no run folder, `UsageError` for another run.
        """
        config = self.any_config()
        if not isinstance(config, ContinualConfig):
            raise UsageError(
                "this run did not learn a stream of tasks",
                where=str(self.path),
                expected="the run of `neurokd continual`",
                found=f'role = "{config.role}"',
            )
        return config

    def any_config(self) -> AnyConfig:
        """The resolved configuration; `FileFormatError` if this is no run folder."""
        file = self.path / "config.toml"
        if not file.is_file():
            raise FileFormatError(
                "this is not a run folder", where=str(self.path), expected="config.toml in it"
            )
        return read_any_config(file)

    def begin(self, config: AnyConfig, resume: bool = False) -> None:
        """Write ``config.toml`` and remove what was made from earlier weights.

        A fine-tuning that was interrupted stays where training goes on.
        """
        for name in (*DERIVED, "config.toml", "metrics.jsonl", "last.ckpt"):
            for leftover in self.path.glob(f".{name}.*"):  # of a process that was killed
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        for name in DERIVED:
            if resume and name == "finetune":
                continue
            path = self.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        atomic.write_text(self.path / "config.toml", write_config(config))

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a JSON file of this folder."""
        return atomic.write_text(self.path / name, json.dumps(content, indent=1) + "\n")

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace ``metrics.jsonl``."""
        atomic.write_text(self.metrics, "".join(f"{json.dumps(row)}\n" for row in rows))

    def test_row(self) -> dict[str, Any]:
        """How the training ended: its last epoch and the test accuracy.

        Raises: `FileFormatError` for metrics that are missing, broken, or not complete.
        """
        try:
            row = json.loads(self.metrics.read_text(encoding="utf-8").splitlines()[-1])
            return {"epoch": int(row["epoch"]), "accuracy": float(row["accuracy"])}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise FileFormatError(
                "the file does not end in a line with the epoch and the accuracy",
                where=str(self.metrics),
                found=f"{type(error).__name__}: {error}",
            ) from error

    def save_model(self, model: nn.Module) -> None:
        """Write the weights of a trained network."""
        atomic.write_bytes(self.weights, state_bytes(model))

    def load_model(self) -> nn.Module:
        """The trained network, in evaluation mode; `FileFormatError` if it is not complete."""
        state = read_weights(self.weights, remedy="train it first, or finish it with --resume")
        model = configured_model(self.config())
        load_state(model, state, self.weights)
        return model.eval()

    def fingerprint(self) -> str:
        """SHA-256 of the weights: what was exported from other weights is out of date."""
        return hashlib.sha256(self.weights.read_bytes()).hexdigest()


def configured_model(config: TrainConfig) -> nn.Module:
    """A freshly initialised network as the configuration describes it."""
    from neurokd.models import build_model

    spiking = config.role == "student"
    geometry = config.model.geometry(spiking=spiking)
    return build_model(config.model.name, spiking=spiking, **geometry)


def state_bytes(model: nn.Module) -> bytes:
    """The parameters and buffers of a network as the content of a ``.safetensors`` file."""
    import torch
    from safetensors.torch import save

    return save(
        {
            key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for key, value in model.state_dict().items()
        }
    )


def read_weights(path: Path, *, remedy: str = "") -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, or of a torch file of plain tensors.

    Raises: `FileFormatError` for a missing, truncated or foreign file.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileFormatError("no such file", where=str(path), remedy=remedy)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise FileFormatError(
            "these are not readable weights", where=str(path), found=str(error).split(". ")[0]
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise FileFormatError(
            "this file holds no state of a network", where=str(path), expected="named tensors"
        )
    return dict(state)


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state into a network that it fits exactly; `FileFormatError` otherwise.

    The prefix "module.", which torch's parallel wrappers leave on every key, is taken off.
    """
    wrapped = all(key.startswith(_WRAPPER) for key in state)
    if wrapped and not any(key.startswith(_WRAPPER) for key in model.state_dict()):
        state = {key.removeprefix(_WRAPPER): value for key, value in state.items()}
    try:
        missing, foreign = model.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise FileFormatError(
            "the weights do not fit the network",
            where=str(path),
            found=str(error).partition("\n\t")[2].partition("\n")[0].rstrip("."),
        ) from error
    if missing or foreign:
        raise FileFormatError(
            "the weights do not fit the network",
            where=str(path),
            expected=f"{_some(missing)}, which the file lacks" if missing else "",
            found=f"{_some(foreign)}, which the network lacks" if foreign else "",
        )


def _some(names: list[str]) -> str:
    """The first of them, and how many there are besides."""
    return names[0] + (f" and {len(names) - 1} more" if names[1:] else "")


def is_deployable(config: AnyConfig) -> bool:
    """Whether something runs on a chip or in ONNX Runtime that a run of this kind has trained."""
    if isinstance(config, ContinualConfig):  # icarl answers by its exemplars, not by the network
        return config.network.name in ("sdmlp", "mlp") and config.icarl is None
    return config.role == "student"


def newest_run(root: Path = RUNS) -> RunFolder:
    """The run of ``root`` with the newest weights that something is deployed from: a student's, or
    one that learned a stream of tasks; `UsageError` if there is none."""
    files = sorted(root.glob(f"*/{WEIGHTS}"), key=lambda f: f.stat().st_mtime_ns, reverse=True)
    for run in (RunFolder(file.parent) for file in files):
        if (run.path / "config.toml").is_file() and is_deployable(run.any_config()):
            return run
    raise UsageError(
        "there is no trained run",
        where=str(root),
        expected="a SOURCE, or the run of a student or of a stream under runs/",
        remedy="`neurokd train mnist-student` makes one",
    )
