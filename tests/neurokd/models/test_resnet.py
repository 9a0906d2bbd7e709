"""Parameter counts of the paper's networks, their geometry, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from neurokd.config import ModelConfig, TrainConfig, read_config, write_config
from neurokd.errors import UsageError
from neurokd.models import ResNet, build_model
from neurokd.neurons import LIF
from neurokd.run import configured_model
from neurokd.training.distillation import Distillation
from neurokd.training.objective import make_objective


def residual_parameters(blocks: tuple[int, int, int], width: int, head: tuple[int, ...]) -> int:
    """By hand: 9·in·out a convolution of 3×3, in·out a shortcut, 2·out a normalisation."""
    first = 16 * width
    total = 9 * 3 * first + 2 * first
    channels = first
    for stage, depth in enumerate(blocks):
        out = first * 2**stage
        for _ in range(depth):
            total += 9 * channels * out + 9 * out * out + 4 * out
            total += channels * out + 2 * out if channels != out else 0
            channels = out
    sizes = (channels, *head)
    return total + sum(a * b + b for a, b in zip(sizes, head, strict=False))


@pytest.mark.parametrize(
    ("name", "blocks", "width", "published"),
    [
        # published millions: teacher and student with 10 classes, then both with 100
        ("resnet19", (3, 3, 2), 8, (12.57, 12.70, 12.62, 12.72)),
        ("resnet20", (3, 3, 3), 1, (0.272, 0.291, 0.278, 0.314)),
    ],
)
def test_the_parameters_are_those_of_the_paper(
    name: str, blocks: tuple[int, int, int], width: int, published: tuple[float, ...]
) -> None:
    found, expected = [], []
    for classes in (10, 100):
        for spiking in (False, True):
            model = build_model(name, spiking=spiking, classes=classes)
            found.append(sum(p.numel() for p in model.parameters()))
            head = (256, classes) if spiking else (classes,)
            expected.append(residual_parameters(blocks, width, head))
    assert found == expected
    assert found == pytest.approx([millions * 1e6 for millions in published], rel=2e-3)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(c.bias is None for c in convolutions)
    assert sum(c.kernel_size == (1, 1) for c in convolutions) == 2  # 16w → 32w → 64w
    assert sum(c.kernel_size == (3, 3) for c in convolutions) == 1 + 2 * sum(blocks)


def test_teacher_and_student_have_the_same_geometry() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 16, 16)
    dense = build_model("resnet20", spiking=False)
    spiking = build_model("resnet20", spiking=True)
    with torch.no_grad():
        for stage, shape in enumerate([(16, 16, 16), (32, 8, 8), (64, 4, 4)]):
            features, spikes = dense.stem(x), spiking.stem(x.expand(3, *x.shape))
            for i in range(stage + 1):
                features, spikes = dense.stages[i](features), spiking.stages[i](spikes)
            assert features.shape == (2, *shape)
            assert spikes.shape == (3, 2, *shape)
            assert set(spikes.unique().tolist()) == {0.0, 1.0}
        assert dense(x).shape == (2, 10)
        assert spiking(x.expand(3, *x.shape)).shape == (3, 2, 10)
    assert isinstance(dense.classifier, nn.Linear)
    # stem, two a block, none in a shortcut
    assert sum(isinstance(m, LIF) for m in spiking.modules()) == 1 + 2 * 9


def test_the_last_activation_may_be_real_valued() -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", spiking=True, last_activation="relu", hidden=None)
    x = torch.rand(1, 3, 8, 8).expand(2, 1, 3, 8, 8)
    with torch.no_grad():
        features = model.stages(model.stem(x))
        earlier = model.stages[:2](model.stem(x))
    assert len(features.unique()) > 2 and features.min() >= 0
    assert set(earlier.unique().tolist()) <= {0.0, 1.0}
    assert sum(isinstance(m, LIF) for m in model.modules()) == 18


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (3, 3)}, "three stages"),
        ({"blocks": (3, 0, 3)}, "blocks is no count"),
        ({"width": 0}, "width 0"),
        ({"hidden": -1}, "hidden -1"),
        ({"last_activation": "tanh"}, "'lif' or 'relu'"),
    ],
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResNet(**settings)


@pytest.mark.parametrize("hidden", [None, 5])
def test_its_head_is_one_linear_map(hidden: int | None) -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", spiking=False, hidden=hidden).double().eval()
    weight = torch.eye(64, dtype=torch.double)
    for path in model.linear_head:
        weight = model.get_submodule(path).weight @ weight
    with torch.no_grad():
        features = torch.rand(2, 64, dtype=torch.double)
        first, second = model.classifier(model.hidden(features))
        torch.testing.assert_close(first - second, weight @ (features[0] - features[1]))


def test_a_residual_configuration_survives_a_round_trip(tmp_path: Any) -> None:
    settings = ["name=resnet20", "width=2", "hidden=0", "classes=7", "in_channels=1"]
    config = read_config("mnist-student", [f"model.{setting}" for setting in settings])
    (tmp_path / "c.toml").write_text(write_config(config))
    assert read_config(tmp_path / "c.toml") == config
    model = configured_model(config)
    assert model.classifier.layer.weight.shape == (7, 128)
    assert model.stem[0].layer[0].weight.shape == (32, 1, 3, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["name=resnet20", "channels=[16]"], "channels is not an option of resnet20"),
        (["width=2"], "width is not an option of convnet"),
        (["name=resnet20", "width=0"], "model.width"),
        (["name=resnet20", "last_activation=tanh"], "'lif' or 'relu'"),
        (["name=resnet18"], "'resnet20'"),
        (["name=resnet20", "depth=3"], "depth is not an option of resnet20"),
        (["name=resnet20", "deepness=3"], "model.deepness: unknown key"),
    ],
)
def test_contradictory_options_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_config("mnist-student", [f"model.{setting}" for setting in settings])


def test_a_residual_student_learns_from_the_last_stage_of_its_teacher() -> None:
    torch.manual_seed(0)
    config = TrainConfig.model_validate(
        {"role": "student", "steps": 2, "model": {"name": "resnet20"}, "distill": {}}
    )
    student = build_model("resnet20", spiking=True)
    teacher = build_model("resnet20", spiking=False, width=2)
    objective = make_objective(config, student, teacher)
    assert isinstance(objective, Distillation) and student.feature_stages[-1] == "stages.2"
    generator = torch.Generator().manual_seed(0)
    logits, terms = objective(torch.rand(2, 3, 16, 16), torch.tensor([1, 3]), generator)
    assert logits.shape == (2, 10) and set(terms) == {"ce", "samd", "nld"}
    sum(terms.values()).backward()  # type: ignore[union-attr]
    gradient = student.stem[0].layer[0].weight.grad
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_a_network_that_names_no_stages_cannot_be_distilled() -> None:
    config = TrainConfig.model_validate({"role": "student", "distill": {}})
    with pytest.raises(UsageError, match="feature_stages"):
        make_objective(config, nn.Sequential(nn.Flatten()), build_model("convnet", spiking=False))


def test_the_default_configuration_is_the_convnet_it_was() -> None:
    config = ModelConfig()
    assert config.geometry(spiking=True) == {
        "in_channels": 1,
        "classes": 10,
        "beta": 0.5,
        "threshold": 1.0,
        "channels": (16, 32, 64, 64),
        "kernels": (5, 3, 3, 3),
        "strides": (2, 2, 1, 1),
    }
