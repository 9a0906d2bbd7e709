"""One epoch: shuffled, varied batches, each a step of the optimiser."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neurokd.batch_share import WHOLE
from neurokd.config import TrainConfig
from neurokd.data import LabelledData
from neurokd.training.augment import augmented
from neurokd.training.checkpoint import TrainingState
from neurokd.training.devices import Devices
from neurokd.training.divergence import diagnose_divergence
from neurokd.training.mixup import mixed
from neurokd.training.objective import Objective


class Step(nn.Module):
    """An objective as a module with the network's parameters: what precision and DDP wrap."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = (objective,)  # in a tuple, so that no teacher becomes a part of this

    def forward(
        self, images: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self._objective[0](images, targets, generator)


def train_epoch(
    step: nn.Module,
    objective: Objective,
    state: TrainingState,
    data: LabelledData,
    config: TrainConfig,
    devices: Devices,
    told: Callable[[int], None],
) -> dict[str, Any]:
    """Go through the data once, and return what was measured on the way.

    All processes draw the same permutation, variations and noise, and each takes its share of every
    batch: one process alone would see the same batches. ``told`` gets the batches done.

    Accuracy under mixup counts the class with the larger share.

    Raises: `TrainingDivergedError` (a loss term is not finite).
    """
    recipe = config.recipe
    started = time.perf_counter()
    rate = state.scheduler.get_last_lr()[0]
    per_epoch = len(data) // recipe.batch_size
    with_mixup = recipe.mixup > 0 and not 0 < recipe.mixup_epochs <= state.epoch
    sums: dict[str, float] = {}
    right = 0
    state.model.train()
    order = torch.randperm(len(data), generator=state.generator)
    for index in range(per_epoch):
        chosen = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
        images, classes = (part.to(devices.device) for part in data.batch(chosen))
        images, targets = augmented(images, config.augment, state.generator), classes
        if with_mixup:
            images, targets = mixed(
                images, classes, config.model.classes, recipe.mixup, state.generator
            )
        images, targets = devices.share.of(images), devices.share.of(targets)
        logits, terms = step(images, targets, state.generator)
        hit = logits.detach().argmax(dim=1) == (targets.argmax(dim=1) if with_mixup else targets)
        measured = torch.stack([*(term.detach() for term in terms.values()), hit.sum()])
        *values, hits = devices.total(measured.double()).tolist()
        means = {name: value / devices.world for name, value in zip(terms, values, strict=True)}
        if not all(map(math.isfinite, means.values())):
            if devices.world > 1:  # then no layer and no loss waits for other processes
                state.model.eval()
                objective.share = WHOLE
            raise diagnose_divergence(
                state.model,
                images,
                partial(objective, images, targets, state.generator),
                means,
                f"epoch {state.epoch + 1}, batch {index + 1}",
            )
        state.optimizer.zero_grad(set_to_none=True)
        devices.backward(torch.stack(list(terms.values())).sum())
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip_norm)
        state.optimizer.step()
        state.scheduler.step()
        if state.averaged is not None:
            state.averaged.update()
        right += int(hits)
        for name, value in means.items():
            sums[name] = sums.get(name, 0.0) + value
        told(index + 1)
    losses = {name: total / per_epoch for name, total in sums.items()}
    return {
        "epoch": state.epoch + 1,
        "split": "train",
        "loss": sum(losses.values()),
        "accuracy": right / (per_epoch * recipe.batch_size),
        "learning_rate": rate,
        "seconds": round(time.perf_counter() - started, 3),
        **losses,
    }
