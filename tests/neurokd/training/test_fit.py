"""What a recipe asks of the loop: validation, selection, averages, mixup, clipping, curves."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neurokd.config import TrainConfig, read_config
from neurokd.data import LabelledData, load_data
from neurokd.errors import DeadLayerError, TrainingDivergedError, UsageError
from neurokd.run import RunFolder, configured_model
from neurokd.training.devices import Devices
from neurokd.training.evaluate import evaluate
from neurokd.training.fit import fit
from neurokd.training.objective import make_objective

pytestmark = pytest.mark.training


def _fitted(
    tiny: list[str], folder: Path, *values: str, **options: Any
) -> tuple[nn.Module, list[dict[str, Any]], LabelledData, TrainConfig]:
    config = read_config("mnist-student-alone", [*tiny, *values])
    data, held_out = load_data(config.data, "train").split(0.25, config.seed)
    torch.manual_seed(config.seed)
    model = configured_model(config)
    objective = make_objective(config, model, None)
    if config.recipe.validation:
        options["held_out"] = held_out
    rows = fit(model, objective, data, config, RunFolder(folder), **options)
    return model, rows, held_out, config


def _validated(rows: list[dict[str, Any]]) -> list[float]:
    return [row["accuracy"] for row in rows if row["split"] == "validation"]


def _state(model: nn.Module) -> torch.Tensor:
    return torch.cat([v.flatten().double() for v in model.state_dict().values()])


LEARNING = ("recipe.validation=0.25", "recipe.learning_rate=0.03", "recipe.batch_size=8")


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_best_epoch_is_kept_and_is_what_was_validated(
    tiny: list[str], tmp_path: Path, ema: float
) -> None:
    values = (*LEARNING, "recipe.epochs=6", "recipe.keep=best", f"recipe.ema={ema}")
    model, rows, held_out, config = _fitted(tiny, tmp_path, *values)
    validated = [row for row in rows if row["split"] == "validation"]
    best = max(validated, key=lambda row: (row["accuracy"], -row["loss"]))
    assert best["accuracy"] > validated[0]["accuracy"]
    found = evaluate(model, held_out, config.steps, Devices(torch.device("cpu")))
    assert found == (best["accuracy"], best["loss"])


def test_it_stops_when_patience_is_over_and_says_so(tiny: list[str], tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    values = ("recipe.validation=0.25", "recipe.epochs=9", "recipe.patience=2")
    rate = ("recipe.learning_rate=1e-9", "recipe.schedule=constant")  # nothing gets better
    _, rows, _, _ = _fitted(
        tiny, tmp_path, *values, *rate, progress=lambda *said: told.append(said)
    )
    validated = [row for row in rows if row["split"] == "validation"]
    best = max(validated, key=lambda row: (row["accuracy"], -row["loss"]))
    assert validated[-1]["epoch"] == best["epoch"] + 2 < 9
    done, total, note = told[-1]
    assert done == total == 27 and f"stopped after epoch {validated[-1]['epoch']}" in note
    again: list[tuple[int, int, str]] = []
    _, resumed, _, _ = _fitted(
        tiny, tmp_path, *values, *rate, resume=True, progress=lambda *said: again.append(said)
    )
    assert resumed == rows and again == told[-1:]


def test_averaged_weights_are_what_is_left(tiny: list[str], tmp_path: Path) -> None:
    plain, rows, _, _ = _fitted(tiny, tmp_path / "a")
    averaged, other, _, _ = _fitted(tiny, tmp_path / "b", "recipe.ema=0.99")
    assert not torch.equal(_state(plain), _state(averaged))
    strip = ("seconds",)
    for a, b in zip(rows, other, strict=True):  # the training itself is the same
        assert {k: v for k, v in a.items() if k not in strip} == {
            k: v for k, v in b.items() if k not in strip
        }


def test_mixup_ends_when_it_is_told_to(tiny: list[str], tmp_path: Path) -> None:
    never, one, always = (
        _fitted(tiny, tmp_path / name, *values)[1]
        for name, values in (
            ("never", ()),
            ("one", ("recipe.mixup=0.4", "recipe.mixup_epochs=1")),
            ("always", ("recipe.mixup=0.4",)),
        )
    )
    assert never[0]["ce"] != one[0]["ce"] == always[0]["ce"]
    assert one[1]["ce"] != always[1]["ce"]


def test_clipping_bounds_a_step_of_sgd(tiny: list[str], tmp_path: Path) -> None:
    sgd = ("recipe.optimizer=sgd", "recipe.momentum=0.0", "recipe.weight_decay=0")
    sgd = (*sgd, "recipe.schedule=constant", "recipe.learning_rate=1.0", "recipe.epochs=1")
    config = read_config("mnist-student-alone", [*tiny, *sgd])
    torch.manual_seed(config.seed)
    start = torch.cat([p.detach().flatten() for p in configured_model(config).parameters()])
    model, rows, _, _ = _fitted(tiny, tmp_path, *sgd, "recipe.clip_norm=1e-3")
    moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - start
    assert 0 < float(moved.norm()) <= 3 * 1e-3 * (1 + 1e-4)  # three batches
    assert rows[0]["learning_rate"] == 1.0


def test_rows_have_rates_terms_and_what_time_it_took(tiny: list[str], tmp_path: Path) -> None:
    _, rows, _, _ = _fitted(tiny, tmp_path, "recipe.validation=0.25", "recipe.epochs=1")
    train, validation = rows
    assert set(train) >= {"epoch", "loss", "ce", "accuracy", "learning_rate", "seconds"}
    assert set(train["rates"]) == {"stages.0.1", "stages.1.1"}
    assert all(0 < rate < 1 for rate in train["rates"].values())
    assert set(validation) == {"epoch", "split", "accuracy", "loss"}
    written = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == rows


def test_curves_are_written_for_tensorboard(tiny: list[str], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    _fitted(tiny, tmp_path, "tensorboard=true", "recipe.epochs=1")
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert events.stat().st_size > 0


def test_a_dead_layer_and_a_diverging_loss_are_named(tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(DeadLayerError, match="stages.0.1.*never spike.*threshold"):
        _fitted(tiny, tmp_path / "dead", "model.threshold=1e6")
    with pytest.raises(TrainingDivergedError, match="epoch 1.*learning_rate"):
        _fitted(tiny, tmp_path / "diverged", "recipe.learning_rate=1e30")


def test_a_batch_larger_than_the_data_is_refused(tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch is larger.*≤ 1[0-9][0-9].*found 500"):
        _fitted(tiny, tmp_path, "recipe.batch_size=500")
