import json
from pathlib import Path

import pytest
import torch
from torch import nn

from neurokd.config import TrainConfig, read_config
from neurokd.errors import NeurokdError, TrainingDivergedError
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
