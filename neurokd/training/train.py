"""Training runs: a dense teacher, or a spiking student with or without one."""

from __future__ import annotations

import torch
from torch import nn

from neurokd.config import TrainConfig
from neurokd.data import LabelledData, load_data
from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.run import RunFolder, configured_model
from neurokd.training.evaluate import accuracy
from neurokd.training.finetune_run import finetune_run
from neurokd.training.fit import Progress, fit
from neurokd.training.objective import make_objective


def train(
    config: TrainConfig,
    folder: RunFolder,
    *,
    teacher: nn.Module | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> nn.Module:
    """Train what the configuration describes and leave a complete run folder.

    With ``config.qat`` the student goes on in the integers of Loihi 2 (`finetune_run`), and its
    weights are then those that the chip stores.

    The test split is evaluated once, after the last epoch; nothing is selected by it. The same
    configuration on the same machine gives the same weights, bit for bit.

    Raises: `UsageError` (distillation without a teacher, or the reverse), `TrainingDivergedError`.
    """
    if config.distill is not None and teacher is None:
        raise UsageError(
            "this configuration distils, and no teacher was given",
            where="distill",
            remedy="give --teacher RUN, or name a teacher in the configuration",
        )
    if config.distill is None and teacher is not None:
        raise UsageError(
            "a teacher was given to a configuration without distillation",
            where="distill",
            remedy="remove the teacher, or add a [distill] section",
        )
    data, test = load_data(config.data, "train"), load_data(config.data, "test")
    torch.manual_seed(config.seed)
    model = _build(config, data)
    folder.begin(config, resume)
    objective = make_objective(config, model, teacher)
    metrics = fit(model, objective, data, config, folder, resume=resume, progress=progress)
    steps = config.steps if config.role == "student" else None
    result = accuracy(model, test, steps)
    folder.write_metrics(
        [*metrics, {"epoch": config.recipe.epochs, "split": "test", "accuracy": result}]
    )
    folder.save_model(model)
    if config.qat:
        finetune_run(folder, teacher, config.weight_bits, resume=resume, progress=progress)
        return folder.load_model()
    return model.eval()


def _build(config: TrainConfig, data: LabelledData) -> nn.Module:
    if len(data.sample_shape) != 3:
        raise ShapeMismatchError(
            "this network takes images",
            where=data.name,
            expected="(C, H, W)",
            found=str(data.sample_shape),
        )
    return configured_model(config)
