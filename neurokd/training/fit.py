"""The training loop: epochs over shuffled, augmented batches, with a checkpoint after each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from neurokd.config import TrainConfig
from neurokd.data import LabelledData
from neurokd.errors import TrainingDivergedError, UsageError
from neurokd.run import RunFolder
from neurokd.training.augment import random_shift
from neurokd.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from neurokd.training.objective import Objective

Progress = Callable[[int, int, str], None]
"""Called with (batches done, batches in all, what the last epoch gave)."""


def fit(
    model: nn.Module,
    objective: Objective,
    data: LabelledData,
    config: TrainConfig,
    folder: RunFolder,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train in place and return the metrics, one row an epoch.

    All randomness after initialisation comes from one generator seeded by ``config.seed``; it is in
    the checkpoint, so an interrupted run that is resumed ends in the same weights.

    Raises: `TrainingDivergedError` (a loss term is not finite), `UsageError` (too few samples).
    """
    recipe = config.recipe
    per_epoch = len(data) // recipe.batch_size
    if per_epoch == 0:
        raise UsageError(
            "a batch is larger than the data",
            where="recipe.batch_size",
            expected=f"≤ {len(data)}",
            found=str(recipe.batch_size),
        )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * per_epoch
    )
    generator = torch.Generator().manual_seed(config.seed)
    state = TrainingState(model, optimizer, scheduler, generator, 0, [])
    if resume:
        load_checkpoint(folder.checkpoint, state, config)
    images, classes = torch.from_numpy(data.x), torch.from_numpy(data.y)
    while state.epoch < recipe.epochs:
        started = time.perf_counter()
        sums: dict[str, float] = {}
        right = 0
        model.train()
        order = torch.randperm(len(data), generator=generator)
        for index in range(per_epoch):
            chosen = order[index * recipe.batch_size : (index + 1) * recipe.batch_size]
            batch = random_shift(images[chosen], config.augment.max_shift, generator)
            logits, terms = objective(batch, classes[chosen], generator)
            values = {name: float(term.detach()) for name, term in terms.items()}
            _require_finite(values, state.epoch + 1, index)
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
            scheduler.step()
            right += int((logits.argmax(dim=1) == classes[chosen]).sum())
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value
            if progress:
                done = state.epoch * per_epoch + index + 1
                progress(done, recipe.epochs * per_epoch, _summary(state.metrics))
        state.epoch += 1
        means = {name: total / per_epoch for name, total in sums.items()}
        state.metrics.append(
            {
                "epoch": state.epoch,
                "split": "train",
                "loss": sum(means.values()),
                "accuracy": right / (per_epoch * recipe.batch_size),
                "seconds": round(time.perf_counter() - started, 3),
                **means,
            }
        )
        folder.write_metrics(state.metrics)
        save_checkpoint(folder.checkpoint, state, config)
    return state.metrics


def _require_finite(values: dict[str, float], epoch: int, batch: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingDivergedError(
                f"the loss term {name} is not a finite number",
                where=f"epoch {epoch}, batch {batch + 1}",
                found=str(value),
                remedy="lower recipe.learning_rate",
            )


def _summary(metrics: list[dict[str, Any]]) -> str:
    if not metrics:
        return ""
    return f"loss {metrics[-1]['loss']:.3f}, accuracy {metrics[-1]['accuracy']:.1%}"
