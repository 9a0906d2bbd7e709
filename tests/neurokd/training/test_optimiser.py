import pytest
import torch
from torch import nn

from neurokd.config import RecipeConfig
from neurokd.training.optimiser import make_optimiser


def _after_two_steps(recipe: RecipeConfig) -> float:
    """A weight of 1 with a gradient of 0.5 at both steps."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimiser = make_optimiser(layer, recipe)
    for _ in range(2):
        layer.weight.grad = torch.full((1, 1), 0.5)
        optimiser.step()
    return layer.weight.item()


def test_sgd_has_momentum_and_adds_the_decay_to_the_gradient() -> None:
    recipe = RecipeConfig(optimizer="sgd", momentum=0.9, learning_rate=0.1, weight_decay=0.2)
    # g = 0.5 + 0.2 · 1 = 0.7, w = 0.93; g = 0.686, m = 0.9 · 0.7 + 0.686 = 1.316, w = 0.7984
    assert _after_two_steps(recipe) == pytest.approx(0.7984)


def test_adamw_decays_beside_its_step_of_the_learning_rate() -> None:
    recipe = RecipeConfig(optimizer="adamw", learning_rate=0.1, weight_decay=0.2)
    # with an equal gradient each step is the learning rate: 1 · 0.98 − 0.1 = 0.88, then 0.7624
    assert _after_two_steps(recipe) == pytest.approx(0.7624, abs=1e-6)


def test_every_parameter_decays_alike() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    (group,) = make_optimiser(network, RecipeConfig(weight_decay=0.3)).param_groups
    assert len(group["params"]) == 4 and group["weight_decay"] == 0.3
