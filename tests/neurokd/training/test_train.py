import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neurokd.config import TrainConfig, read_config
from neurokd.data import LabelledData, load_data
from neurokd.errors import NeurokdError, ShapeMismatchError, TrainingDivergedError, UsageError
from neurokd.models import build_model
from neurokd.run import RunFolder
from neurokd.training import train

pytestmark = pytest.mark.training


def _equal(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(name == other and torch.equal(x, y) for (name, x), (other, y) in pairs)


@pytest.fixture
def teacher(tiny: list[str], tmp_path: Path) -> nn.Module:
    return train(read_config("mnist-teacher", tiny), RunFolder(tmp_path / "teacher"))


def test_distillation_leaves_a_complete_run(
    tiny: list[str], tmp_path: Path, teacher: nn.Module
) -> None:
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    config, folder = read_config("mnist-student", tiny), RunFolder(tmp_path / "student")
    model = train(config, folder, teacher=teacher)
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [row["split"] for row in rows] == ["train"] * 3 + ["test"]
    assert rows[0]["loss"] == pytest.approx(sum(rows[0][k] for k in ("ce", "samd", "nld")))
    assert rows[2]["loss"] < rows[0]["loss"]
    assert folder.config() == config
    assert _equal(model, folder.load_model())
    # The teacher is frozen, its batch statistics included.
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_the_same_seed_gives_the_same_bits(
    tiny: list[str], tmp_path: Path, teacher: nn.Module
) -> None:
    runs = [
        train(
            read_config("mnist-student", [*tiny, f"seed={seed}"]),
            RunFolder(tmp_path / name),
            teacher=teacher,
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert _equal(runs[0], runs[1])
    assert not _equal(runs[0], runs[2])


class _Killed(Exception):
    pass


@pytest.mark.parametrize("batches", [1, 7, 11])
def test_an_interrupted_run_resumes_to_the_same_bits(
    tiny: list[str], tmp_path: Path, teacher: nn.Module, batches: int
) -> None:
    config = read_config("mnist-student", tiny)
    whole = train(config, RunFolder(tmp_path / "whole"), teacher=teacher)
    folder = RunFolder(tmp_path / "cut")

    def stop(done: int, total: int, note: str) -> None:
        if done == batches:
            raise _Killed

    with pytest.raises(_Killed):
        train(config, folder, teacher=teacher, progress=stop)
    assert not folder.weights.exists()
    if folder.checkpoint.exists():
        torch.rand(5)  # the global generator may stand anywhere
        resumed = train(config, folder, teacher=teacher, resume=True)
        assert _equal(whole, resumed)
        strip = [
            [
                {k: v for k, v in json.loads(line).items() if k != "seconds"}
                for line in f.metrics.read_text().splitlines()
            ]
            for f in (folder, RunFolder(tmp_path / "whole"))
        ]
        assert strip[0] == strip[1]
    else:
        assert batches < 5, "the first epoch has five batches"


@pytest.mark.parametrize("more", [(), ("qat=true", "qat_epochs=1")])
def test_the_test_set_is_touched_once_and_at_the_end(
    more: tuple[str, ...], tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every reading of data and every sample that is handed out, in their order."""
    touched: list[str] = []
    batch = LabelledData.batch

    def loaded(source: str, split: str, **options: Any) -> LabelledData:
        touched.append(f"load {split}")
        return replace(load_data(source, split, **options), name=split)

    def handed_out(self: LabelledData, indices: Any) -> Any:
        touched.append(self.name)
        return batch(self, indices)

    for name in ("train", "evaluate", "finetune_run"):  # the package has a function `train`
        monkeypatch.setattr(import_module(f"neurokd.training.{name}"), "load_data", loaded)
    monkeypatch.setattr(LabelledData, "batch", handed_out)
    values = [*tiny, *more, "recipe.validation=0.2", "recipe.keep=best", "recipe.patience=1"]
    config, folder = read_config("mnist-student-alone", values), RunFolder(tmp_path / "r")
    train(config, folder)
    assert touched[0] == "load train" and touched[-2:] == ["load test", "test"]
    tuning = {"load train", "train"} if more else set()  # in integers, on all training samples
    assert set(touched[1:-2]) == {"train (rest)", "train (held out)"} | tuning
    touched.clear()
    train(config, folder, resume=True)
    assert touched == []


def test_a_finished_run_that_is_resumed_is_left_as_it_is(tiny: list[str], tmp_path: Path) -> None:
    config, folder = read_config("mnist-student-alone", tiny), RunFolder(tmp_path / "r")
    model = train(config, folder)
    (folder.path / "verdict.json").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in folder.path.iterdir()}
    assert _equal(train(config, folder, resume=True), model)
    assert {path: path.stat().st_mtime_ns for path in folder.path.iterdir()} == before


def test_only_the_first_samples_are_used(tiny: list[str], tmp_path: Path) -> None:
    data = load_data("mnist-subset:train").first(64)
    own = tmp_path / "own"
    own.mkdir()
    for split, part in (("train", data), ("test", load_data("mnist-subset:test").first(8))):
        np.savez(own / f"{split}.npz", x=part.x, y=part.y)
    few = [*tiny, f"data='{own}'"]
    runs = [
        train(read_config("mnist-student-alone", values), RunFolder(tmp_path / name))
        for name, values in (("few", few), ("samples", [*tiny, "samples=64"]))
    ]
    assert _equal(*runs)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("model.in_channels=3", r"other images.*\(3, H, W\).*\(1, 28, 28\).*in_channels = 1"),
        ("model.classes=3", "more classes than the network.*10.*3"),
        ("augment.autoaugment=cifar10", "for RGB images"),
        ("devices=3", "does not divide"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tiny: list[str], tmp_path: Path, value: str, message: str
) -> None:
    with pytest.raises(NeurokdError, match=message):
        train(read_config("mnist-student-alone", [*tiny, value]), RunFolder(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_networks_that_do_not_fit_are_refused_before_anything_is_written(
    tiny: list[str], tmp_path: Path, teacher: nn.Module
) -> None:
    folder = RunFolder(tmp_path / "r")
    config = read_config("mnist-student", [*tiny, "distill.teacher_stage=stages.7"])
    with pytest.raises(NeurokdError, match="no such module.*stages.7"):
        train(config, folder, teacher=teacher)
    config = read_config("mnist-teacher", [*tiny, "compiled=true", "recompute=true"])
    with pytest.raises(NeurokdError, match="either compiled or computed again"):
        train(config, folder)
    assert not folder.path.exists()


def test_a_diverging_loss_is_named(tiny: list[str], tmp_path: Path) -> None:
    config = read_config("mnist-student-alone", [*tiny, "recipe.learning_rate=1e30"])
    with pytest.raises(TrainingDivergedError, match="ce.*learning_rate"):
        train(config, RunFolder(tmp_path / "r"))


def test_a_checkpoint_of_another_configuration_is_refused(tiny: list[str], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "r")
    train(read_config("mnist-teacher", tiny), folder)
    with pytest.raises(NeurokdError, match="another configuration"):
        train(read_config("mnist-teacher", [*tiny, "seed=4"]), folder, resume=True)
    folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:-100])
    with pytest.raises(NeurokdError, match="complete checkpoint"):
        train(read_config("mnist-teacher", tiny), folder, resume=True)


@pytest.mark.parametrize(
    ("preset", "has_teacher", "message"),
    [("mnist-student", False, "no teacher"), ("mnist-student-alone", True, "without distillation")],
)
def test_a_teacher_has_to_fit_the_configuration(
    tiny: list[str], tmp_path: Path, preset: str, has_teacher: bool, message: str
) -> None:
    config: TrainConfig = read_config(preset, tiny)
    with pytest.raises(NeurokdError, match=message):
        train(config, RunFolder(tmp_path / "r"), teacher=nn.Linear(1, 1) if has_teacher else None)


@pytest.mark.parametrize("data", ["own.npz", "mnist-subset:train"])
def test_nothing_is_tested_on_what_it_was_trained_on(tmp_path: Path, data: str) -> None:
    config = read_config("mnist-student-alone", [f"data='{data}'"])
    with pytest.raises(UsageError, match="tested on what it was trained on.*train.npz"):
        train(config, RunFolder(tmp_path / "r"))


def test_a_teacher_of_other_images_is_refused_before_the_run(
    tiny: list[str], tmp_path: Path
) -> None:
    config = read_config("mnist-student", tiny)
    teacher = build_model("convnet", spiking=False, in_channels=3)
    with pytest.raises(ShapeMismatchError, match="teacher: the network does not take these samp"):
        train(config, RunFolder(tmp_path / "r"), teacher=teacher)
    assert not (tmp_path / "r").exists()


def test_a_folder_whose_test_samples_do_not_fit_is_refused_before_training(
    tiny: list[str], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    np.savez(own / "train.npz", x=np.zeros((64, 1, 28, 28), np.float32), y=np.arange(64) % 10)
    np.savez(own / "test.npz", x=np.zeros((8, 1, 14, 14), np.float32), y=np.arange(8))
    config = read_config("mnist-student-alone", [*tiny, f"data='{own}'"])
    with pytest.raises(ShapeMismatchError, match=r"test\.npz.*\(1, 28, 28\).*\(1, 14, 14\)"):
        train(config, RunFolder(tmp_path / "r"))
    assert not (tmp_path / "r").exists()
