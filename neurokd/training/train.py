"""Training runs: a dense teacher, or a spiking student with or without one."""

from __future__ import annotations

import copy
import math
from contextlib import ExitStack

import torch
from torch import nn

from neurokd.config import TrainConfig
from neurokd.data import LabelledData, load_data
from neurokd.data.load import require_alike, require_splits
from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.models.answer import require_answer
from neurokd.run import RunFolder, configured_model
from neurokd.training.augment import check_augment
from neurokd.training.batch_norm_sync import synchronised_batch_norms
from neurokd.training.checkpoint import require_checkpoint
from neurokd.training.compile_dense import compiled_stages
from neurokd.training.devices import Devices
from neurokd.training.evaluate import tested_row
from neurokd.training.finetune_run import finetune_run, recorded_quantisation
from neurokd.training.fit import Progress, fit
from neurokd.training.kept_memory import keep_freed_memory
from neurokd.training.objective import make_objective
from neurokd.training.precision import neurons_in_float32
from neurokd.training.processes import run_on_devices
from neurokd.training.teacher_record import record_teacher, require_same_teacher
from neurokd.training.tensorboard import Curves


def train(
    config: TrainConfig,
    folder: RunFolder,
    *,
    teacher: nn.Module | None = None,
    teacher_source: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> nn.Module:
    """Train what the configuration describes and leave a complete run folder.

    With ``config.qat`` the student goes on in the integers of Loihi 2 (`finetune_run`), and its
    weights are then those that the chip stores. With ``config.devices`` > 1 this process starts the
    others and is the first of them.

    The run records the fingerprint of its teacher, and ``teacher_source``, which says where that
    came from; it goes on with the same one only.

    The test split is evaluated once, at the very end; nothing is selected by it, a validation split
    is held out of the training samples. The same configuration on the same CPU gives the same
    weights, bit for bit; some operations on a GPU add up in no fixed order. A finished run that is
    resumed is left as it is.

    Raises: `UsageError` (distillation without a teacher, or the reverse), `TrainingDivergedError`,
    `DeadLayerError`, `BackendUnavailableError` (no such device).
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
    require_splits(config.data)
    if config.recipe.batch_size % config.devices:
        raise UsageError(
            "a batch does not divide among the processes",
            where="recipe.batch_size",
            expected=f"a multiple of {config.devices}",
            found=str(config.recipe.batch_size),
        )
    if config.role == "teacher" and config.compiled and config.recompute:
        raise UsageError(
            "a stage is either compiled or computed again",
            where="recompute",
            remedy="set compiled = false, or recompute = false",
        )
    if resume:
        require_checkpoint(folder.checkpoint, config)
        require_same_teacher(folder, teacher)
        if _is_finished(folder, config):
            return folder.load_model()
    is_first = run_on_devices(_train, config, (folder, teacher, teacher_source, resume), progress)
    if config.qat and is_first:
        finetune_run(folder, teacher, config.weight_bits, resume=resume, progress=progress)
    return folder.load_model()


def _train(
    devices: Devices,
    config: TrainConfig,
    folder: RunFolder,
    teacher: nn.Module | None,
    teacher_source: str | None,
    resume: bool,
    progress: Progress | None,
) -> bool:
    """What each process does; whether it is the first."""
    keep_freed_memory()
    data = load_data(config.data, "train", steps=config.steps).first(config.samples)
    _require_fit(config, data)
    require_alike(config.data, data, config.model.classes)
    held_out = None
    if config.recipe.validation:
        data, held_out = data.split(config.recipe.validation, config.seed)
    torch.manual_seed(config.seed)
    model = configured_model(config)
    _require_answers(config, data, model, teacher)
    model = model.to(devices.device)
    if teacher is not None and devices.device.type != "cpu":
        teacher = copy.deepcopy(teacher).to(devices.device)
    objective = make_objective(config, model, teacher)
    objective.share = devices.share
    with ExitStack() as stack:
        if devices.world > 1:
            stack.enter_context(synchronised_batch_norms(model))
        if config.precision != "float32":
            stack.enter_context(neurons_in_float32(model))
        dense = model if config.role == "teacher" else teacher
        if config.compiled and dense is not None:
            stack.enter_context(compiled_stages(dense))
        if devices.is_first:
            folder.begin(config, resume)
            if not resume:
                record_teacher(folder, teacher, teacher_source)
        metrics = fit(
            model,
            objective,
            data,
            config,
            folder,
            held_out=held_out,
            devices=devices,
            resume=resume,
            progress=progress,
        )
    del objective  # and with it the hooks on both networks
    if not config.qat:  # else these weights are not yet those that are tested
        metrics = [*metrics, tested_row(model, config, metrics[-1]["epoch"], devices)]
    if devices.is_first:
        if config.tensorboard and not config.qat:
            with Curves(folder.path, metrics[-1]["epoch"]) as curves:
                curves.write(metrics[-1])
        folder.write_metrics(metrics)
        folder.save_model(model)
    devices.wait()
    return devices.is_first


def _is_finished(folder: RunFolder, config: TrainConfig) -> bool:
    """Whether nothing is left to do: the weights are written last."""
    if not folder.weights.is_file() or folder.config() != config:
        return False
    return not config.qat or recorded_quantisation(folder) is not None


def _require_answers(
    config: TrainConfig, data: LabelledData, model: nn.Module, teacher: nn.Module | None
) -> None:
    """Raise a typed error for a network, its user's own or a teacher's, that fails on a sample."""
    steps = config.steps if config.role == "student" else None
    classes = config.model.classes
    where = f"model {config.model.name}"
    require_answer(model, data.sample_shape, where=where, steps=steps, classes=classes)
    if teacher is not None:
        require_answer(teacher, data.sample_shape, where="teacher", classes=classes)


def _require_fit(config: TrainConfig, data: LabelledData) -> None:
    """Raise a typed error for data that the network cannot take."""
    shape, network = data.sample_shape, config.model
    if network.in_channels is not None and (len(shape) != 3 or shape[0] != network.in_channels):
        raise ShapeMismatchError(
            "this network takes other images",
            where=data.name,
            expected=f"({network.in_channels}, H, W)",
            found=str(shape),
            remedy=f"set model.in_channels = {shape[0]}" if len(shape) == 3 else "",
        )
    if network.inputs is not None and math.prod(shape) != network.inputs:
        raise ShapeMismatchError(
            "this network takes other samples",
            where=data.name,
            expected=f"{network.inputs} numbers",
            found=str(shape),
            remedy=f"set model.inputs = {math.prod(shape)}",
        )
    if data.classes > network.classes:
        raise UsageError(
            "the data have more classes than the network",
            where="model.classes",
            expected=f"≥ {data.classes}",
            found=str(network.classes),
        )
    check_augment(config.augment, shape, data.events)
