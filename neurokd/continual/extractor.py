"""`Extractor`: a frozen network, and the place in it where embeddings are taken."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neurokd.config import EmbedConfig
from neurokd.data.embeddings import arrays_sha256
from neurokd.data.folder import cache_root
from neurokd.data.labelled import LabelledData
from neurokd.errors import (
    BackendUnavailableError,
    FileFormatError,
    ShapeMismatchError,
    UsageError,
)
from neurokd.models import build_model
from neurokd.run import RunFolder, load_state, read_weights


class Extractor:
    """A network in evaluation mode, and the place in it where the embedding is taken.

    Shapes: (B, *shape) → (B, d) float32; what is taken is flattened. That is the output of
    ``config.layer``; else what enters the classifier; else, of a module without one, its output.
    Raises: `FileFormatError` for weights that are missing or do not fit, `UsageError` for a layer
    that is not there, `BackendUnavailableError` where there is no such device.
    """

    def __init__(self, config: EmbedConfig) -> None:
        geometry = config.model.geometry(spiking=False)
        with torch.random.fork_rng(devices=[]):  # what is drawn is overwritten by the weights
            self.network = build_model(config.model.name, spiking=False, **geometry)
        if config.weights is not None:
            file = weights_file(config.weights)
            load_state(self.network, read_weights(file), file)
        state = self.network.state_dict()
        self.weights_sha256 = arrays_sha256({k: v.cpu().numpy() for k, v in state.items()})
        self.device = _device(config.device)
        self.network.to(self.device).eval().requires_grad_(False)
        self.channels_last = config.model.name != "module"  # faster, where strides are no matter
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalisation = None
        if config.mean is not None and config.deviation is not None:
            self.normalisation = tuple(
                torch.tensor(v, device=self.device).view(-1, 1, 1)
                for v in (config.mean, config.deviation)
            )
        self._taken: list[Any] = []
        self.place = self._watch(config.layer)
        self.name = f"{config.model.name} {json.dumps(geometry)}, {self.place}"

    def _watch(self, layer: str | None) -> str:
        """Hook the place where the embedding is taken, and say in words which it is."""
        own = self.network
        if layer is None:
            path = getattr(own, "classifier_path", "classifier" if self.channels_last else None)
            if path is None:
                own.register_forward_hook(lambda m, given, out: self._taken.append(out))
                return "its output"
            own.get_submodule(path).register_forward_pre_hook(
                lambda m, given: self._taken.append(given[0])
            )
            return f"what enters {path}"
        try:
            own.get_submodule(layer).register_forward_hook(
                lambda m, given, out: self._taken.append(out)
            )
        except AttributeError as error:
            raise UsageError(
                "the extractor has no module of this path",
                where="layer",
                expected=", ".join(name for name, _ in own.named_children()),
                found=repr(layer),
            ) from error
        return f"what leaves {layer}"

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.device)
        if self.normalisation is not None:
            mean, deviation = self.normalisation
            x = (x - mean) / deviation
        if self.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        self._taken = []
        self.network(x)
        if len(self._taken) != 1 or not isinstance(self._taken[0], Tensor):
            raise UsageError(
                "the place of the embedding must give one tensor, once in a forward pass",
                where=self.place,
                found=f"{len(self._taken)} × {type(self._taken[0]).__name__}"
                if self._taken
                else "nothing",
                remedy="name another layer",
            )
        (taken,) = self._taken
        self._taken = []
        if taken.shape[:1] != x.shape[:1]:
            raise ShapeMismatchError(
                "there is not one embedding for each sample",
                where=self.place,
                expected=f"({len(x)}, …)",
                found=str(tuple(taken.shape)),
            )
        embedding: Tensor = taken.float().reshape(len(x), -1).cpu()
        return embedding

    def check(self, data: LabelledData) -> None:
        """Raise a typed error for samples that the network does not take."""
        if data.events:
            raise UsageError(
                "an extractor is for samples without time, and these are event frames",
                where=data.name,
            )
        shape = data.sample_shape
        channels = None if self.normalisation is None else len(self.normalisation[0])
        if channels is not None and (len(shape) != 3 or shape[0] != channels):
            raise ShapeMismatchError(
                "mean and deviation are for other samples",
                where=data.name,
                expected=f"({channels}, H, W)",
                found=str(shape),
            )
        try:
            self(torch.zeros(1, *shape))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:  # of whoever wrote it
            raise ShapeMismatchError(
                "the extractor does not take these samples",
                where=data.name,
                found=f"{shape}: {str(error).strip().partition(chr(10))[0]}",
            ) from error


def weights_file(named: str) -> Path:
    """A file, the weights of a run, or a file of NEUROKD_DATA/weights; else `FileFormatError`."""
    path = Path(named).expanduser()
    if path.is_dir():
        return RunFolder(path).weights
    data = os.environ.get("NEUROKD_DATA")
    roots = ([Path(data).expanduser()] if data else []) + [cache_root()]
    for file in (path, *(root / "weights" / named for root in roots)):
        if file.is_file():
            return file
    raise FileFormatError(
        "the weights of the extractor are missing",
        where=named,
        expected="a file, a run, or a file of this name in NEUROKD_DATA/weights",
        remedy="give --set weights=FILE; `neurokd teach convmixer` trains an extractor",
    )


def _device(name: str) -> torch.device:
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise BackendUnavailableError(
            "there is no GPU here that torch can use",
            where="device",
            remedy="set device = 'cpu', or 'auto'",
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")
