"""Sizes are worked out by hand from costs of round numbers."""

import pytest

from neurokd.config import RecipeConfig, TrainConfig
from neurokd.errors import UsageError
from neurokd.reproduce.budget import (
    Cost,
    Size,
    fit_budget,
    full_size,
    grid_seconds,
    resized,
    shrunk_size,
)
from neurokd.reproduce.grid import GridRun

RECIPE = RecipeConfig(epochs=100, batch_size=50)
TEACHER = GridRun(
    "t", "digits", "teacher", 0, TrainConfig(role="teacher", data="digits", recipe=RECIPE)
)
STUDENT = GridRun(
    "s", "digits", "alone", 0, TrainConfig(role="student", data="digits", recipe=RECIPE)
)
COSTS = {
    ("digits", "teacher"): Cost(10.0, 0.001, 2000),
    ("digits", "alone"): Cost(20.0, 0.002, 2000),
}


def test_epochs_shrink_first_and_then_samples() -> None:
    full = Size(100, 2000)
    assert shrunk_size(full, 1.0, 50) == full
    assert shrunk_size(full, 0.5, 50) == Size(50, 2000)
    assert shrunk_size(full, 0.12, 50) == Size(12, 2000)
    assert shrunk_size(full, 0.06, 50) == Size(12, 1000)
    assert shrunk_size(full, 0.0, 50) == Size(12, 500)
    assert shrunk_size(full, 0.0, 256) == Size(12, 1024)  # four batches
    assert shrunk_size(full, 0.505, 50) == Size(50, 2000)  # whole epochs


def test_what_is_small_already_is_not_made_larger() -> None:
    assert shrunk_size(Size(3, 100), 0.0, 50) == Size(3, 100)


def test_samples_of_the_configuration_count() -> None:
    config = TrainConfig(role="student", samples=300)
    assert full_size(config, 5000) == Size(12, 300)
    assert full_size(config, 200) == Size(12, 200)


def test_grid_seconds() -> None:
    sizes = {"t": Size(100, 2000), "s": Size(100, 2000)}
    # 10 + 200 and 20 + 400 seconds.
    assert grid_seconds([TEACHER, STUDENT], sizes, COSTS, 1) == pytest.approx(630)
    assert grid_seconds([TEACHER, STUDENT], sizes, COSTS, 2) == pytest.approx(420)  # the longest
    follower = GridRun("s", "digits", "alone", 0, STUDENT.config, needs="t")
    assert grid_seconds([TEACHER, follower], sizes, COSTS, 2) == pytest.approx(630)


def test_the_largest_sizes_that_fit() -> None:
    runs = [TEACHER, STUDENT]
    assert fit_budget(runs, COSTS, 1, 631) == {"t": Size(100, 2000), "s": Size(100, 2000)}
    # 30 s are fixed, 300 of the 600 others are left: half of the epochs.
    halved = fit_budget(runs, COSTS, 1, 330.001)
    assert halved == {"t": Size(50, 2000), "s": Size(50, 2000)}
    assert grid_seconds(runs, halved, COSTS, 1) <= 330.001


def test_a_budget_that_nothing_fits_says_what_would() -> None:
    # 10 + 12 · 500 · 0.001 and 20 + 12 · 500 · 0.002: 48 s.
    assert fit_budget([TEACHER, STUDENT], COSTS, 1, 48.001)["s"] == Size(12, 500)
    with pytest.raises(UsageError, match="at least 1 minutes"):
        fit_budget([TEACHER, STUDENT], COSTS, 1, 47)


def test_phases_shrink_with_the_epochs() -> None:
    recipe = RecipeConfig(
        epochs=300, schedule="cosine", warmup_epochs=20, mixup=0.5, mixup_epochs=200
    )
    config = TrainConfig(role="student", recipe=recipe)
    small = resized(config, Size(12, 640))
    assert (small.samples, small.recipe.epochs) == (640, 12)
    assert (small.recipe.warmup_epochs, small.recipe.mixup_epochs) == (0, 8)
    half = resized(config, Size(150, 640)).recipe
    assert (half.warmup_epochs, half.mixup_epochs) == (10, 100)
    assert resized(config, Size(300, 640)) == config.model_copy(update={"samples": 640})
