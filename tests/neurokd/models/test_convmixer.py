"""ConvMixer against the reference's own form, its shipped weights, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from network_checks import check_training_step, stage_outputs
from torch import Tensor, nn

from neurokd.config import ModelConfig, TrainConfig, read_config
from neurokd.errors import FileFormatError, UsageError
from neurokd.models import ConvMixer, build_model
from neurokd.run import configured_model, load_state, read_weights

TINY: dict[str, Any] = {"dim": 8, "depth": 2, "kernel": 3, "patch": 2}


class Residual(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) + x


def reference(dim: int, depth: int, kernel: int, patch: int, classes: int) -> nn.Sequential:
    """The authors' code, but for their nesting: their figure 3, with the names of convmixer.md."""
    layers = [nn.Conv2d(3, dim, kernel_size=patch, stride=patch), nn.GELU(), nn.BatchNorm2d(dim)]
    for _ in range(depth):
        depthwise = nn.Conv2d(dim, dim, kernel, groups=dim, padding="same")
        layers.append(Residual(nn.Sequential(depthwise, nn.GELU(), nn.BatchNorm2d(dim))))
        layers += [nn.Conv2d(dim, dim, kernel_size=1), nn.GELU(), nn.BatchNorm2d(dim)]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(dim, classes)
    )


def test_the_shipped_weights_answer_as_in_the_reference(neurokd_data: Path) -> None:
    file = neurokd_data / "weights" / "convmixer256-8-cifar100.safetensors"
    state = read_weights(file)
    model = build_model("convmixer", spiking=False, classes=100)
    load_state(model, state, file)
    expected = reference(256, 8, 5, 2, 100)
    expected.load_state_dict(state)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 32, 32, generator=generator)
    mean = torch.tensor([0.5071, 0.4865, 0.4409]).view(3, 1, 1)
    deviation = torch.tensor([0.2673, 0.2564, 0.2762]).view(3, 1, 1)
    with torch.no_grad():
        found = model.eval()(x)
        wanted = expected.eval()((x - mean) / deviation)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert found.std() > 0.1  # an answer, not a constant
    with pytest.raises(FileFormatError, match="do not fit"):
        load_state(build_model("convmixer", spiking=False, classes=10), state, file)


def test_the_parameters_are_those_of_its_geometry() -> None:
    # by hand: patch 3·4·d + d + 2d; a block 25d + d + 2d and d² + d + 2d; head 100d + 100
    d = 256
    expected = (12 * d + 3 * d) + 8 * ((25 * d + 3 * d) + (d * d + 3 * d)) + (100 * d + 100)
    assert sum(p.numel() for p in ConvMixer(classes=100).parameters()) == expected == 617_316


def test_each_block_is_a_stage_of_one_resolution_and_the_network_learns() -> None:
    torch.manual_seed(0)
    model = ConvMixer(**TINY)
    shapes = [features.shape for features in stage_outputs(model, torch.rand(2, 3, 8, 6))]
    assert model.feature_stages == ("6", "10")
    assert shapes == [(2, 8, 4, 3), (2, 8, 4, 3)]
    assert isinstance(model.get_submodule(model.classifier_path), nn.Linear)
    check_training_step(model, torch.rand(10, 3, 8, 8))


def test_the_preset_is_the_recipe_of_the_shipped_weights() -> None:
    config = read_config("convmixer")
    model = configured_model(config)
    assert isinstance(model, ConvMixer) and model.get_submodule("37").out_features == 100
    recipe = config.recipe
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (12, 128, 0.01)
    assert (recipe.weight_decay, recipe.clip_norm, recipe.label_smoothing) == (0.005, 1.0, 0.1)
    assert (config.augment.max_shift, config.augment.flip) == (4, True)


def test_it_has_no_spiking_form() -> None:
    with pytest.raises(ValueError, match="convmixer is a dense teacher"):
        TrainConfig.model_validate({"role": "student", "model": {"name": "convmixer"}})
    geometry = ModelConfig(name="convmixer").geometry(spiking=True)
    with pytest.raises(UsageError, match="no spiking form"):
        build_model("convmixer", spiking=True, **geometry)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"in_channels": 1}, "RGB"), ({"kernel": 0}, "kernel 0"), ({"depth": True}, "depth True")],
)
def test_what_is_no_network_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ConvMixer(**settings)
