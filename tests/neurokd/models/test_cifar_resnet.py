"""The published CIFAR-10 networks: their weights, their accuracy, and as teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from network_checks import check_training_step, stage_outputs
from torch import nn

from neurokd.cli.train import teacher_for
from neurokd.config import ModelConfig, TrainConfig
from neurokd.data import load_data
from neurokd.errors import FileFormatError, UsageError
from neurokd.models import CifarResNet, build_model
from neurokd.run import RunFolder, load_state, read_weights

FILES = {20: "resnet20-12fca82f.th", 32: "resnet32-d509ac18.th", 56: "resnet56-4bfd9763.th"}


def published(data: Path, layers: int) -> nn.Module:
    model = build_model("cifar-resnet", spiking=False, layers=layers)
    file = data / "weights" / FILES[layers]
    load_state(model, read_weights(file), file)
    return model.eval()


@pytest.mark.parametrize("layers", FILES)
def test_the_published_weights_fit_their_network_alone(neurokd_data: Path, layers: int) -> None:
    model = published(neurokd_data, layers)
    # the millions of He et al., table 6
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert round(millions, 2) == {20: 0.27, 32: 0.46, 56: 0.85}[layers]
    file = neurokd_data / "weights" / FILES[layers]
    state = read_weights(file)
    assert torch.equal(model.conv1.weight, state["module.conv1.weight"])
    other = build_model("cifar-resnet", spiking=False, layers=20 if layers != 20 else 32)
    with pytest.raises(FileFormatError, match="do not fit"):
        load_state(other, state, file)


@pytest.mark.parametrize(
    ("layers", "right"),
    [
        (20, 9173),
        pytest.param(32, 9263, marks=pytest.mark.slow),
        pytest.param(56, 9339, marks=pytest.mark.slow),
    ],
)
def test_the_published_accuracy_is_reproduced(
    neurokd_data: Path, monkeypatch: pytest.MonkeyPatch, layers: int, right: int
) -> None:
    """91.73, 92.63 and 93.39 % of the 10,000 test images."""
    monkeypatch.setenv("NEUROKD_DATA", str(neurokd_data))
    data = load_data("cifar10:test")
    model = published(neurokd_data, layers).to(memory_format=torch.channels_last)
    found = 0
    with torch.no_grad():
        for start in range(0, len(data.y), 250):
            images = torch.tensor(data.x[start : start + 250])
            guesses = model(images.contiguous(memory_format=torch.channels_last)).argmax(dim=1)
            found += int((guesses.numpy() == data.y[start : start + 250]).sum())
    assert len(data.y) == 10_000 and found == right


def test_a_published_file_is_a_teacher_of_the_command_line(
    neurokd_data: Path, tmp_path: Path
) -> None:
    lesson = tmp_path / "lesson.toml"
    lesson.write_text('role = "teacher"\n[model]\nname = "cifar-resnet"\nlayers = 20\n')
    config = TrainConfig.model_validate(
        {
            "role": "student",
            "data": "cifar10",
            "teacher": str(lesson),
            "model": {"name": "resnet20"},
            "distill": {},
        }
    )
    file = neurokd_data / "weights" / FILES[20]
    teacher = teacher_for(config, file, RunFolder(tmp_path / "run"))
    expected = published(neurokd_data, 20).state_dict()
    found = teacher.state_dict()
    assert isinstance(teacher, CifarResNet) and found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_its_stages_have_the_geometry_of_a_resnet20_student() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 16, 16)
    teacher = build_model("cifar-resnet", spiking=False)
    student = build_model("resnet20", spiking=True)
    shapes = [features.shape for features in stage_outputs(teacher, x)]
    assert shapes == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 64, 4, 4)]
    assert shapes == [f.shape[1:] for f in stage_outputs(student, x.expand(2, *x.shape))]
    assert isinstance(teacher.get_submodule(teacher.classifier_path), nn.Linear)
    check_training_step(teacher, torch.rand(10, 3, 8, 8))


def test_the_input_is_normalised_and_the_shortcut_padded() -> None:
    torch.manual_seed(0)
    model = CifarResNet().eval()
    assert not {key for key in model.state_dict() if "mean" in key and "running" not in key}
    seen = []
    model.conv1.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.full((1, 3, 8, 8), 0.5))
        block = model.layer2[0]
        nn.init.zeros_(block.bn2.weight)  # the shortcut alone is left
        x = torch.arange(16 * 16.0).view(1, 16, 4, 4)
        y = block(x)
    # (0.5 − 0.485) / 0.229, (0.5 − 0.456) / 0.224, (0.5 − 0.406) / 0.225
    expected = torch.tensor([0.0655022, 0.1964286, 0.4177778])
    torch.testing.assert_close(seen[0][0, :, 0, 0], expected)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any() and not y[:, 24:].any()


def test_it_has_no_spiking_form() -> None:
    with pytest.raises(ValueError, match="resnet20"):
        TrainConfig.model_validate({"role": "student", "model": {"name": "cifar-resnet"}})
    geometry = ModelConfig(name="cifar-resnet").geometry(spiking=True)
    with pytest.raises(UsageError, match="resnet20"):
        build_model("cifar-resnet", spiking=True, **geometry)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 44}, "44 layers"),
        ({"in_channels": 1}, "1 input channels"),
        ({"classes": 0}, "classes 0"),
    ],
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CifarResNet(**settings)
