"""The training loop: epochs, validation and selection, with a checkpoint after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from neurokd.config import RecipeConfig, TrainConfig
from neurokd.data import LabelledData
from neurokd.errors import UsageError
from neurokd.run import RunFolder
from neurokd.training.averaged_weights import AveragedWeights
from neurokd.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from neurokd.training.devices import Devices
from neurokd.training.divergence import require_bounded_loss
from neurokd.training.epoch import Step, train_epoch
from neurokd.training.evaluate import evaluate
from neurokd.training.health import SpikeRates, require_alive
from neurokd.training.objective import Objective
from neurokd.training.optimiser import make_optimiser
from neurokd.training.recompute import recomputable, recomputed
from neurokd.training.schedule import make_schedule
from neurokd.training.stages import feature_stages
from neurokd.training.tensorboard import Curves

Progress = Callable[[int, int, str], None]
"""Called with (batches done, batches in all, what the last epoch gave)."""

_ALONE = Devices(torch.device("cpu"))


def fit(
    model: nn.Module,
    objective: Objective,
    data: LabelledData,
    config: TrainConfig,
    folder: RunFolder,
    *,
    held_out: LabelledData | None = None,
    devices: Devices = _ALONE,
    resume: bool = False,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train in place and return the metrics, a row for each epoch and split.

    ``model`` is on its device, and ends with the weights that the recipe keeps: of the last epoch
    or of the best on ``held_out``, averaged if the recipe says so. All randomness after
    initialisation comes from one generator seeded by ``config.seed`` and from torch's global one;
    both are in the checkpoint, so an interrupted run that is resumed ends in the same weights.

    Raises: `TrainingDivergedError`, `DeadLayerError`, `UsageError` (too few samples).
    """
    recipe = config.recipe
    per_epoch = _batches(len(data), recipe)
    optimiser = make_optimiser(model, recipe)
    state = TrainingState(
        model,
        optimiser,
        make_schedule(optimiser, recipe, per_epoch),
        torch.Generator().manual_seed(config.seed),
        AveragedWeights(model, recipe.ema) if recipe.ema else None,
    )
    if resume:
        load_checkpoint(folder.checkpoint, state, config)
    steps = config.steps if config.role == "student" else None
    total = recipe.epochs * per_epoch
    step = devices.wrapped(Step(model, objective))
    rates = SpikeRates(model)
    with ExitStack() as stack:
        if config.recompute:
            stack.enter_context(recomputed(model, recomputable(model, feature_stages(model))))
        curves = None
        if config.tensorboard and devices.is_first:
            curves = stack.enter_context(Curves(folder.path, state.epoch))

        def told(batches: int) -> None:
            if progress:
                progress(state.epoch * per_epoch + batches, total, _summary(state.metrics))

        while not _is_over(state, recipe):
            row = train_epoch(step, objective, state, data, config, devices, told)
            row["rates"] = _over_all(rates.take(), devices)
            state.epoch += 1
            rows = [row]
            if held_out is not None:
                rows.append(_validate(state, held_out, steps, recipe, devices))
            state.metrics.extend(rows)
            if devices.is_first:  # first of all, so that what is refused can be looked at
                folder.write_metrics(state.metrics)
            require_alive(row["rates"], f"epoch {state.epoch}")
            require_bounded_loss(state.metrics)
            if devices.is_first:
                for each in rows:
                    if curves is not None:
                        curves.write(each)
                save_checkpoint(folder.checkpoint, state, config)
            devices.wait()
    if progress and state.epoch < recipe.epochs:
        progress(total, total, f"stopped after epoch {state.epoch}: {_summary(state.metrics)}")
    _put_kept_weights(state)
    return state.metrics


def _batches(samples: int, recipe: RecipeConfig) -> int:
    """Batches in an epoch; what is left over comes in another epoch's order."""
    if samples < recipe.batch_size:
        raise UsageError(
            "a batch is larger than the data",
            where="recipe.batch_size",
            expected=f"≤ {samples}",
            found=str(recipe.batch_size),
        )
    return samples // recipe.batch_size


def _is_over(state: TrainingState, recipe: RecipeConfig) -> bool:
    return state.epoch >= recipe.epochs or state.selection.is_over(state.epoch, recipe.patience)


def _validate(
    state: TrainingState,
    held_out: LabelledData,
    steps: int | None,
    recipe: RecipeConfig,
    devices: Devices,
) -> dict[str, Any]:
    """Evaluate the weights that would be kept, and remember them if they are the best so far."""
    with ExitStack() as stack:
        if state.averaged is not None:
            stack.enter_context(state.averaged.applied())
        accuracy, loss = evaluate(state.model, held_out, steps, devices)
        if state.selection.offer(state.epoch, accuracy, loss) and recipe.keep == "best":
            state.selection.keep(state.model.state_dict())
    return {"epoch": state.epoch, "split": "validation", "accuracy": accuracy, "loss": loss}


def _put_kept_weights(state: TrainingState) -> None:
    if state.selection.weights:
        state.model.load_state_dict(state.selection.weights)
    elif state.averaged is not None:
        state.averaged.apply()


def _over_all(rates: dict[str, float], devices: Devices) -> dict[str, float]:
    """Mean rates over all processes."""
    if not rates or devices.world == 1:
        return rates
    values = torch.tensor(list(rates.values()), dtype=torch.float64, device=devices.device)
    means = devices.total(values) / devices.world
    return dict(zip(rates, means.tolist(), strict=True))


def _summary(metrics: list[dict[str, Any]]) -> str:
    """The last epoch in a few words, by its validation where there is one."""
    if not metrics:
        return ""
    train = next(row for row in reversed(metrics) if row["split"] == "train")
    last = metrics[-1]
    which = "validation accuracy" if last["split"] == "validation" else "accuracy"
    return f"loss {train['loss']:.3f}, {which} {last['accuracy']:.1%}"
