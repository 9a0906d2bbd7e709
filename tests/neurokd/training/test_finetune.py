"""What leaves fine-tuning is already the deployed network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.config import AugmentConfig, DistillConfig, RecipeConfig, TrainConfig
from neurokd.data import LabelledData, load_data
from neurokd.errors import UnsupportedModuleError
from neurokd.export.lower import lower
from neurokd.export.trace import trace
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.models import ResNet
from neurokd.neurons import LIF, Accumulator, PerStep
from neurokd.run import RunFolder
from neurokd.training.finetune import Finetuned, finetune
from neurokd.verify import verify

pytestmark = pytest.mark.training
BITS = 2


def lowered(student: nn.Module, data: LabelledData, **options: object) -> DeployedNetwork:
    graph = trace(student, torch.zeros(1, *data.sample_shape), steps=4)
    return lower(graph, calibration=data.first(256).x, steps=4, **options)  # type: ignore[arg-type]


def accuracy(net: DeployedNetwork, data: LabelledData) -> float:
    return float((emulate(net, net.padded(net.encode(data.x))).classes == data.y).mean())


def assert_exported_alike(tuned: Finetuned, data: LabelledData) -> None:
    again = lowered(tuned.student, data, **tuned.quantisation.arguments())
    assert len(again.projections) == len(tuned.deployed.projections)
    for before, after in zip(tuned.deployed.projections, again.projections, strict=True):
        np.testing.assert_array_equal(before.weight, after.weight)
    assert tuned.deployed.populations[1:] and again.output == tuned.deployed.output


def test_what_is_trained_is_what_is_deployed(
    trained_run: Path, tiny_data: str, tmp_path: Path
) -> None:
    run = RunFolder(trained_run)
    student, data = run.load_model(), load_data(tiny_data)
    before = lowered(student, data, weight_bits=BITS)
    weights = {k: v.clone() for k, v in student.state_dict().items()}
    tuned = finetune(
        student, run.config(), data, RunFolder(tmp_path / "f"), weight_bits=BITS, epochs=4
    )
    assert all(torch.equal(weights[k], v) for k, v in student.state_dict().items())
    assert_exported_alike(tuned, data)
    for name, note in tuned.deployed.metadata["lowering"]["populations"].items():
        assert note["rms_weight_error"] < 1e-6, name
        assert all(layer["bits"] == BITS for layer in note["projections"].values())
        # the float student that is left spikes as the integers do
        assert note.get("spike_agreement", 1.0) > 0.999, name
    assert accuracy(tuned.deployed, data) > accuracy(before, data) + 0.1
    # its readout has one weight for all positions of the pool, the chip copies that differ
    rows = {r.backend: r for r in verify(tuned.student, tuned.deployed, data, ["emulator"]).rows}
    assert (rows["emulator"].agreement or 0) > 0.8


def test_a_run_that_was_interrupted_ends_in_the_same_weights(
    trained_run: Path, tiny_data: str, tmp_path: Path
) -> None:
    run = RunFolder(trained_run)
    student, data = run.load_model(), load_data(tiny_data).first(32)
    folder = RunFolder(tmp_path / "f")

    def stop(done: int, total: int, said: str) -> None:
        if done == 6:  # in the second of two epochs of four batches
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(student, run.config(), data, folder, epochs=2, progress=stop)
    resumed = finetune(student, run.config(), data, folder, epochs=2, resume=True)
    whole = finetune(student, run.config(), data, RunFolder(tmp_path / "w"), epochs=2)
    for a, b in zip(resumed.deployed.projections, whole.deployed.projections, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)


@pytest.mark.parametrize("hidden", [None, 16])
def test_a_residual_student_with_its_shortcuts_and_head(hidden: int | None, tmp_path: Path) -> None:
    torch.manual_seed(1)
    student = ResNet((1, 1, 1), in_channels=1, hidden=hidden, spiking=True)
    generator = np.random.default_rng(1)
    data = LabelledData(
        "noise", generator.random((32, 1, 8, 8)).astype(np.float32), generator.integers(0, 10, 32)
    )
    for _ in range(20):
        student(torch.from_numpy(data.x).expand(4, *data.x.shape))
    config = TrainConfig(
        role="student", recipe=RecipeConfig(batch_size=16), augment=AugmentConfig(max_shift=0)
    )
    tuned = finetune(
        student.eval(), config, data, RunFolder(tmp_path), weight_bits={"stem_0_layer_0": 4}
    )
    assert_exported_alike(tuned, data)
    assert tuned.deployed.latency > 5


@pytest.mark.parametrize("named", [{"stage": 1}, {"student_stage": "stages.0.0"}])
def test_an_early_stage_is_distilled_in_integers_too(named: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(1)
    student, teacher = (ResNet((1, 1, 1), in_channels=1, spiking=s) for s in (True, False))
    generator = np.random.default_rng(1)
    data = LabelledData(
        "noise", generator.random((32, 1, 8, 8)).astype(np.float32), generator.integers(0, 10, 32)
    )
    for _ in range(20):
        student(torch.from_numpy(data.x).expand(4, *data.x.shape))
    config = TrainConfig(
        role="student",
        recipe=RecipeConfig(batch_size=16),
        augment=AugmentConfig(max_shift=0),
        distill=DistillConfig(kd=1.0, **named),
    )
    folder = RunFolder(tmp_path)
    tuned = finetune(student.eval(), config, data, folder, teacher=teacher, epochs=1)
    assert_exported_alike(tuned, data)
    row = json.loads(folder.metrics.read_text().splitlines()[0])
    assert row["samd"] > 0 and row["nld"] > 0 and row["kd"] > 0


@pytest.mark.parametrize("wrong", [{"catkd": 1.0}, {"mapping": "cam-cam"}])
def test_losses_that_need_a_linear_classifier_are_refused(
    wrong: dict[str, Any], tmp_path: Path
) -> None:
    config = TrainConfig(role="student", distill=DistillConfig(**wrong))
    data = LabelledData("none", np.zeros((1, 1, 8, 8), np.float32), np.zeros(1, int))
    with pytest.raises(UnsupportedModuleError, match="no class activation maps.*qat = false"):
        finetune(nn.Identity(), config, data, RunFolder(tmp_path), teacher=nn.Identity())


def test_a_layer_that_cannot_hold_what_is_learnt_is_refused(tmp_path: Path) -> None:
    class Twice(nn.Module):
        """One linear layer that stands for two projections."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = PerStep(nn.Linear(6, 6))
            self.first, self.second, self.readout = LIF(), LIF(), Accumulator()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.readout(
                self.layer(self.second(self.layer(self.first(self.layer(x)))))
            )
            return answer

    torch.manual_seed(0)
    data = LabelledData(
        "noise", np.random.default_rng(0).random((32, 6)).astype(np.float32), np.zeros(32, int)
    )
    config = TrainConfig(
        role="student", recipe=RecipeConfig(batch_size=16), augment=AugmentConfig(max_shift=0)
    )
    with pytest.raises(UnsupportedModuleError, match="export without fine-tuning"):
        finetune(Twice().eval(), config, data, RunFolder(tmp_path), epochs=1)
