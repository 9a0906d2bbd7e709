import pytest
import torch
from torch import nn

from neurokd.config import RecipeConfig
from neurokd.training.optimiser import make_optimiser
from neurokd.training.schedule import make_schedule


def _rates(recipe: RecipeConfig, per_epoch: int) -> list[float]:
    """The learning rate of each batch."""
    optimiser = make_optimiser(nn.Linear(1, 1), recipe)
    schedule = make_schedule(optimiser, recipe, per_epoch)
    rates = []
    for _ in range(recipe.epochs * per_epoch):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    return rates


def test_cosine_after_a_linear_warm_up() -> None:
    recipe = RecipeConfig(
        epochs=4,
        schedule="cosine",
        warmup_epochs=2,
        learning_rate=1.0,
        final_learning_rate=0.2,
    )
    # 4 batches up, then 0.2 + 0.8 (1 + cos(π n / 4)) / 2 for n = 0 … 3
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 0.6 + 0.4 * 2**-0.5, 0.6, 0.6 - 0.4 * 2**-0.5]
    assert _rates(recipe, 2) == pytest.approx(expected)


def test_cosine_is_that_of_torch() -> None:
    recipe = RecipeConfig(epochs=3, schedule="cosine", learning_rate=0.1, final_learning_rate=1e-3)
    optimiser = torch.optim.SGD(nn.Linear(1, 1).parameters(), 0.1)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=15, eta_min=1e-3)
    expected = []
    for _ in range(15):
        expected.append(oracle.get_last_lr()[0])
        optimiser.step()
        oracle.step()
    assert _rates(recipe, 5) == pytest.approx(expected)


def test_constant_after_its_warm_up() -> None:
    recipe = RecipeConfig(epochs=3, schedule="constant", warmup_epochs=1, learning_rate=0.4)
    assert _rates(recipe, 2) == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.4, 0.4])


def test_one_cycle_leaves_the_momentum_of_sgd_alone() -> None:
    recipe = RecipeConfig(epochs=4, optimizer="sgd", momentum=0.7, learning_rate=0.5)
    optimiser = make_optimiser(nn.Linear(1, 1), recipe)
    schedule = make_schedule(optimiser, recipe, 5)
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        assert optimiser.param_groups[0]["momentum"] == 0.7
        optimiser.step()
        schedule.step()
    assert max(rates) == pytest.approx(0.5) and rates[0] == pytest.approx(0.02)
    assert rates[-1] == min(rates)
