"""Data as a spiking SDMLP takes them: one pulse of whole numbers, then silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from neurokd.config.continual import ContinualConfig, SpikingConfig
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Task
from neurokd.errors import UsageError
from neurokd.models.spiking_sdmlp import messages

_BATCH = 4096


def as_messages(data: LabelledData) -> LabelledData:
    """Static samples as the whole numbers of `messages`; x (N, *shape) → (N, d) float32.

    Raises: `UsageError` for event frames.
    """
    if data.events:
        raise UsageError("a spiking SDMLP takes static samples", where=data.name, found="events")
    parts = [
        messages(torch.tensor(np.asarray(data.x[start : start + _BATCH], dtype=np.float32)))
        for start in range(0, len(data), _BATCH)
    ]
    return replace(data, x=torch.cat(parts).numpy())


def task_in_messages(task: Task) -> Task:
    """A task whose training and test samples are messages; nothing is held out of it."""
    return replace(
        task, train=as_messages(task.train), test=as_messages(task.test), validation=None
    )


def as_pulse(data: LabelledData, steps: int) -> LabelledData:
    """Messages (N, d) as event frames (N, T, d), uint8: all in the first frame."""
    x = np.zeros((len(data), steps, data.x.shape[1]), dtype=np.uint8)
    x[:, 0] = data.x
    return replace(data, x=x, events=True)


def deployed_data(config: ContinualConfig, data: LabelledData) -> LabelledData:
    """Samples of the stream as the deployed network, or `SpikingSDMLP` (T first), takes them.

    They are frames of counts, so that they enter one for one. Raises: `UsageError` for a
    configuration without a spiking student.
    """
    settings = require_spiking(config, "config.toml")
    return as_pulse(as_messages(data), settings.steps)


def require_spiking(config: ContinualConfig, where: str) -> SpikingConfig:
    """The section of the spiking student; `UsageError` if there is none."""
    if config.spiking is None:
        raise UsageError(
            "this run has no spiking student",
            where=where,
            expected="a section [spiking] in its configuration",
            remedy="run `neurokd continual` with one",
        )
    return config.spiking
