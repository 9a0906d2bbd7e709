"""The objective that a configuration describes."""

from __future__ import annotations

from typing import Any

import pytest

from neurokd.config import TrainConfig
from neurokd.models import build_model
from neurokd.training.objective import (
    DenseClassification,
    Distillation,
    Objective,
    SpikingClassification,
    make_objective,
)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"role": "teacher"}, DenseClassification),
        ({"role": "student"}, SpikingClassification),
        ({"role": "student", "distill": {}}, Distillation),
    ],
)
def test_role_and_section_decide(options: dict[str, Any], kind: type[Objective]) -> None:
    config = TrainConfig.model_validate({"steps": 5, "recipe": {"label_smoothing": 0.1}} | options)
    model = build_model("convnet", spiking=config.role == "student")
    objective = make_objective(config, model, build_model("convnet", spiking=False))
    assert type(objective) is kind
    assert objective.network is model and objective.label_smoothing == 0.1
    assert getattr(objective, "steps", 5) == 5


def test_every_option_of_distillation_reaches_its_loss() -> None:
    options = {
        "kd": 1.0,
        "catkd": 1.0,
        "temperature": 3.0,
        "scaling": "l2",
        "mapping": "cam-cam",
        "norm": "sample",
        "tau_squared": False,
        "noise": 0.2,
        "nld_mode": "prob_mix",
        "nld_sigma": 1.5,
    }
    config = TrainConfig.model_validate({"role": "student", "distill": options})
    spiking, dense = (build_model("convnet", spiking=s) for s in (True, False))
    objective = make_objective(config, spiking, dense)
    assert isinstance(objective, Distillation)
    samd, nld = objective.samd, objective.nld
    assert (samd.temperature, samd.scaling, samd.mapping) == (3.0, "l2", "cam-cam")
    assert (samd.norm, samd.tau_squared) == ("sample", False)
    assert (nld.temperature, nld.noise, nld.mode, nld.sigma) == (3.0, 0.2, "prob_mix", 1.5)
    assert objective.kd.temperature == 3.0 and not nld.through_spread
