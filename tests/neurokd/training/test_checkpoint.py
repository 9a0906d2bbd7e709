import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from neurokd.config import RecipeConfig, TrainConfig
from neurokd.errors import FileFormatError, UsageError
from neurokd.training.averaged_weights import AveragedWeights
from neurokd.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from neurokd.training.optimiser import make_optimiser
from neurokd.training.schedule import make_schedule

RECIPES = {
    "adamw": RecipeConfig(epochs=4, ema=0.9),
    "sgd": RecipeConfig(epochs=4, optimizer="sgd", schedule="cosine", warmup_epochs=1),
}


def _state(recipe: RecipeConfig) -> TrainingState:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    optimiser = make_optimiser(model, recipe)
    return TrainingState(
        model,
        optimiser,
        make_schedule(optimiser, recipe, per_epoch=5),
        torch.Generator().manual_seed(2),
        AveragedWeights(model, recipe.ema) if recipe.ema else None,
    )


def _steps(state: TrainingState, number: int) -> None:
    for _ in range(number):
        x = torch.randn(8, 3, generator=state.generator)
        state.optimizer.zero_grad()
        state.model(x).square().sum().backward()
        state.optimizer.step()
        state.scheduler.step()
        if state.averaged is not None:
            state.averaged.update()


@pytest.mark.parametrize("name", RECIPES)
def test_a_state_that_is_put_back_goes_on_as_if_nothing_had_happened(
    name: str, tmp_path: Path
) -> None:
    config = TrainConfig(role="teacher", recipe=RECIPES[name])
    one, other = _state(config.recipe), _state(config.recipe)
    _steps(one, 3)
    one.epoch, one.metrics = 2, [{"epoch": 1, "loss": 0.5}]
    one.selection.offer(1, 0.25, 1.5)
    one.selection.keep(one.model.state_dict())
    save_checkpoint(tmp_path / "c", one, config)
    _steps(one, 3)
    after = torch.get_rng_state()

    load_checkpoint(tmp_path / "c", other, config)
    assert (other.epoch, other.metrics) == (2, one.metrics)
    assert (other.selection.epoch, other.selection.accuracy, other.selection.loss) == (1, 0.25, 1.5)
    assert set(other.selection.weights) == set(one.selection.weights)
    assert all(torch.equal(v, one.selection.weights[k]) for k, v in other.selection.weights.items())
    _steps(other, 3)
    assert torch.equal(torch.get_rng_state(), after)  # dropout draws from it
    assert torch.equal(other.generator.get_state(), one.generator.get_state())
    assert other.scheduler.get_last_lr() == one.scheduler.get_last_lr()
    for a, b in zip(
        other.model.state_dict().values(), one.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    if one.averaged is not None and other.averaged is not None:
        pairs = zip(other.averaged.state().values(), one.averaged.state().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": "neurokd.checkpoint/1"}, "another version.*checkpoint/2.*checkpoint/1"),
        ({"format": "something else"}, "not a checkpoint"),
        ([1], "not a checkpoint"),
    ],
)
def test_other_files_are_refused(header: object, message: str, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "c", metadata={"neurokd": json.dumps(header)})
    config = TrainConfig(role="teacher")
    with pytest.raises(FileFormatError, match=message):
        load_checkpoint(tmp_path / "c", _state(config.recipe), config)


def test_what_is_missing_or_of_another_run_is_refused(tmp_path: Path) -> None:
    config = TrainConfig(role="teacher")
    with pytest.raises(FileFormatError, match="nothing to resume"):
        load_checkpoint(tmp_path / "c", _state(config.recipe), config)
    save_checkpoint(tmp_path / "c", _state(config.recipe), config)
    with pytest.raises(UsageError, match="another configuration"):
        other = config.model_copy(update={"seed": 1})
        load_checkpoint(tmp_path / "c", _state(config.recipe), other)


def test_a_network_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    """As one of the user's own may, under the same configuration."""
    config, recipe = TrainConfig(role="teacher"), RECIPES["sgd"]
    save_checkpoint(tmp_path / "last.ckpt", _state(recipe), config)
    changed = _state(recipe)
    changed.model = nn.Sequential(nn.Linear(3, 5))
    with pytest.raises(FileFormatError, match="do not fit the network"):
        load_checkpoint(tmp_path / "last.ckpt", changed, config)
