"""Quantisation-aware fine-tuning: the student learns as the integer network it is deployed as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from neurokd.config import TrainConfig
from neurokd.data import LabelledData
from neurokd.data.steps_first import lowering_arguments
from neurokd.errors import UnsupportedModuleError
from neurokd.export.lower import PASSES, lower, lowering
from neurokd.export.lowering import Lowering
from neurokd.export.trace import trace
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import LIFPopulation
from neurokd.hardware.sparse_projection import SparseProjection
from neurokd.run import RunFolder
from neurokd.training.fit import Progress, fit
from neurokd.training.objective import make_objective
from neurokd.training.quantise_network import QuantisedNetwork
from neurokd.training.quantise_write_back import write_back
from neurokd.training.stages import feature_stages

CALIBRATION_SAMPLES = 256
RATE_SHARE = 0.1
"""Learning rate of fine-tuning, as a share of the recipe's."""
_READOUT_MARGIN = 0.8
"""Share of its proven limit that an accumulator's scale may use, since its weights will change."""


@dataclass(frozen=True)
class Quantisation:
    """The grid that a student was trained on: with it, lowering gives the trained integers."""

    weight_bits: int | Mapping[str, int]
    scales: Mapping[str, float]
    exponents: Mapping[str, int]

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `neurokd.export.lower.lower`; plain values, fit for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Finetuned:
    """A student on the chip's grid, the grid, and the network that it is deployed as."""

    student: nn.Module
    quantisation: Quantisation
    deployed: DeployedNetwork


def finetune(
    student: nn.Module,
    config: TrainConfig,
    data: LabelledData,
    folder: RunFolder,
    *,
    weight_bits: int | Mapping[str, int] = 8,
    teacher: nn.Module | None = None,
    epochs: int = 4,
    chip: str = "loihi2",
    resume: bool = False,
    progress: Progress | None = None,
) -> Finetuned:
    """Train on in the deployed integers: weights, decays, thresholds and biases are the chip's.

    The forward pass is `QuantisedNetwork`, the arithmetic of the emulator; gradients pass straight
    through every rounding. The losses of ``config`` stay on, at a tenth of its learning rate, in a
    cycle of their own over ``epochs``. Scales are those that lowering finds for the student as it
    is. ``student`` is left as it is; checkpoint and metrics go to ``folder``.

    Raises: `UnsupportedModuleError` for a network whose layers fine-tuning does not cover, and for
    losses that need the student's linear classifier; what lowering raises.
    """
    _require_no_classifier(config)
    graph = trace(student, torch.zeros(1, *data.sample_shape), steps=config.steps)
    arguments: dict[str, Any] = {
        "chip": chip,
        "steps": config.steps,
        **lowering_arguments(data.first(CALIBRATION_SAMPLES), chip),
    }
    state = lowering(graph, **arguments, weight_bits=weight_bits)
    trainee = quantised_network(state, feature_stages(student))
    config = _finetuning(config, epochs)
    objective = make_objective(_of_trainee(config, trainee), trainee, teacher)
    fit(trainee, objective, data, config, folder, resume=resume, progress=progress)
    result = write_back(trainee, graph, student)
    quantisation = Quantisation(weight_bits, trainee.scales, trainee.exponents)
    traced = trace(result, torch.zeros(1, *data.sample_shape), steps=config.steps)
    deployed = lower(traced, **arguments, **quantisation.arguments())
    require_same_integers(trainee, deployed)
    return Finetuned(result, quantisation, deployed)


def _of_trainee(config: TrainConfig, trainee: QuantisedNetwork) -> TrainConfig:
    """The configuration, with the trainee's path of the stage that it names of the student."""
    distill = config.distill
    if distill is None or distill.student_stage is None:
        return config
    stage = trainee.stage(distill.student_stage)
    return config.model_copy(
        update={"distill": distill.model_copy(update={"student_stage": stage})}
    )


def _require_no_classifier(config: TrainConfig) -> None:
    """Raise `UnsupportedModuleError` for losses that need the student's linear classifier."""
    distill = config.distill
    if distill is None or not (distill.catkd or (distill.samd and distill.mapping == "cam-cam")):
        return
    raise UnsupportedModuleError(
        "a network in integers has no class activation maps",
        where="distill",
        found="catkd" if distill.catkd else "mapping cam-cam",
        remedy="distil with samd (cam-sam), nld or kd, or set qat = false",
    )


def quantised_network(state: Lowering, stages: Sequence[str] = ()) -> QuantisedNetwork:
    """The trainable form of a finished lowering, with its scales; ``stages`` are the student's.

    Projections are taken as they are composed, before shortcuts are balanced by delays and relays:
    without the populations' own delays both compute the same.
    """
    composed = Lowering(graph=state.graph, options=state.options)
    for name, transform in PASSES:
        if name == "balance":
            break
        composed = transform(composed)
    return QuantisedNetwork(replace(state, scales=_with_margin(state)), composed.floats, stages)


def _finetuning(config: TrainConfig, epochs: int) -> TrainConfig:
    """The same losses and batches, in one process; the last weights are kept as they are."""
    rate = RATE_SHARE * config.recipe.learning_rate
    recipe = config.recipe.model_copy(
        update={
            "epochs": epochs,
            "learning_rate": rate,
            "warmup_epochs": 0,
            "final_learning_rate": min(rate, config.recipe.final_learning_rate),
            "mixup": 0.0,
            "ema": 0.0,
            "validation": 0.0,
            "keep": "last",
            "patience": 0,
        }
    )
    alone = {"device": "cpu", "devices": 1, "precision": "float32", "compiled": False}
    return config.model_copy(update={"recipe": recipe, **alone})


def _with_margin(state: Lowering) -> Mapping[str, float]:
    scales = dict(state.scales)
    for population in state.floats.neurons:
        if state.report[population.name].get("limited_by") == "proof":
            scales[population.name] *= _READOUT_MARGIN
    return scales


def require_same_integers(trained: QuantisedNetwork, net: DeployedNetwork) -> None:
    """Raise `UnsupportedModuleError` unless the deployed network is what was trained."""
    for neurons in trained.populations():
        own, found = neurons.deployed, net.population(neurons.neuron.name)
        assert isinstance(found, LIFPopulation)
        if (own.vth, own.dv, own.du) != (found.vth, found.dv, found.du) or not np.array_equal(
            own.bias, found.bias
        ):
            raise _differs(f"population {own.name!r}")
    projections = {p.name: p for p in net.projections}
    for weights in trained.projections():
        projection = projections[weights.projection.name]
        found_integers = projection.weight * 2.0**projection.weight_exp
        integers = weights.integers() * 2.0**weights.exponent
        if isinstance(projection, SparseProjection):  # a kernel whose taps were written out
            same = bool(np.isin(found_integers, integers).all())
        else:
            same = np.array_equal(found_integers, integers)
        if not same:
            raise _differs(f"projection {projection.name!r}")


def _differs(where: str) -> UnsupportedModuleError:
    return UnsupportedModuleError(
        "the student's layers cannot hold what was learnt in integers",
        where=where,
        remedy="export without fine-tuning",
    )
