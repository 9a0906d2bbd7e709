"""The spiking student of a task: from the float network, trained with its circuit in the loop."""

from __future__ import annotations

import torch

from neurokd.config.continual import ContinualConfig, LearningConfig, SpikingConfig
from neurokd.continual.gradient_learner import GradientLearner
from neurokd.continual.method import Method
from neurokd.continual.spiking.calibrate import SAMPLES, calibrate
from neurokd.continual.spiking.deployed_data import require_spiking
from neurokd.continual.spiking.float_teacher import FloatTeacher
from neurokd.continual.spiking.from_sdmlp import from_sdmlp
from neurokd.continual.ssd import SSD
from neurokd.data.stream import Task
from neurokd.models.sdmlp import SDMLP
from neurokd.models.spiking_sdmlp import PulseSDMLP, SpikingSDMLP
from neurokd.models.winner_circuit import Circuit


def train_student(
    sdmlp: SDMLP,
    config: ContinualConfig,
    task: Task,
    previous: tuple[SpikingSDMLP, Task] | None,
    generator: torch.Generator,
) -> SpikingSDMLP:
    """The student of ``sdmlp`` as it is after ``task``, whose samples are messages.

    It is distilled from the float network, and where the stream uses SSD also from ``previous``,
    the student before it, by SSD; of the task before nothing is used but what SSD remembers at its
    end, and where its race began. The circuit is calibrated before the first epoch and after each.

    Raises: `UsageError`, `TrainingDivergedError`.
    """
    settings = require_spiking(config, "train_student")
    before = previous[0].pulse.winners.circuit if previous is not None else None
    student = from_sdmlp(sdmlp, settings, torch.from_numpy(task.train.x[:SAMPLES]), before)
    if not settings.epochs:
        return student
    methods: list[Method] = [FloatTeacher(sdmlp, settings.distillation, settings.temperature)]
    if config.ssd is not None:
        ssd = SSD(config.ssd)
        if previous is not None:
            ssd.end_task(previous[0].pulse, previous[1], generator)
        methods.append(ssd)
    learner = GradientLearner(student.pulse, _learning(settings), methods)
    learner.begin_task(task)
    for _ in range(settings.epochs):
        learner.epoch(task, generator)
        recalibrate(student.pulse, task, before)
    return student


@torch.no_grad()
def recalibrate(pulse: PulseSDMLP, task: Task, before: Circuit | None) -> None:
    """Set the circuit to k winners on the task's training samples."""
    layer = pulse.winners
    a = pulse.activations(torch.from_numpy(task.train.x[:SAMPLES]))
    layer.set_circuit(calibrate(a, layer.k, layer.steps, layer.inhibitors, before))


def _learning(settings: SpikingConfig) -> LearningConfig:
    return LearningConfig(
        epochs=max(1, settings.epochs),
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        clip_norm=settings.clip_norm,
    )
