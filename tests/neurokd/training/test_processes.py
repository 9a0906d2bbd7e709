"""Several processes share every batch, and compute what one would."""

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from neurokd.config import TrainConfig, read_config
from neurokd.errors import BackendFailedError, BackendUnavailableError, UsageError
from neurokd.run import RunFolder
from neurokd.training import train
from neurokd.training.devices import Devices, opened
from neurokd.training.processes import run_on_devices


def _rows(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


@pytest.mark.training
def test_two_processes_give_the_loss_curve_of_one_with_the_doubled_batch(
    tiny: list[str], tmp_path: Path
) -> None:
    """Two of 16 samples each against one of 32, with batch normalisation and a teacher."""
    values = [*tiny, "distill.nld=0", "distill.norm=sample", "distill.kd=1", "recipe.mixup=0.2"]
    values += ["recipe.validation=0.2", "recipe.ema=0.9", "recipe.clip_norm=1.0"]
    teacher = train(read_config("mnist-teacher", tiny), RunFolder(tmp_path / "teacher"))
    folders = [RunFolder(tmp_path / str(devices)) for devices in (1, 2)]
    said: list[tuple[int, int]] = []
    for devices, folder in enumerate(folders, start=1):
        config = read_config("mnist-student", [*values, f"devices={devices}"])
        train(config, folder, teacher=teacher, progress=lambda *told: said.append(told[:2]))
    one, two = (_rows(folder) for folder in folders)
    assert [row["split"] for row in one] == ["train", "validation"] * 3 + ["test"]
    for a, b in zip(one, two, strict=True):
        # the same sums in another order: float32 rounds at 6e-8, over 12 steps
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert b["split"] == a["split"] and b["epoch"] == a["epoch"]
        assert b["accuracy"] == a["accuracy"]
        assert b.get("rates", {}) == pytest.approx(a.get("rates", {}), rel=1e-2)
    assert said[:12] == said[12:]  # only the first process tells
    weights = [folder.load_model().state_dict() for folder in folders]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)
    assert not torch.distributed.is_initialized() and "LOCAL_RANK" not in os.environ


@pytest.mark.training
def test_a_process_that_dies_is_named(tiny: list[str], tmp_path: Path) -> None:
    def kill(done: int, total: int, note: str) -> None:
        (other,) = multiprocessing.active_children()
        other.kill()

    config = read_config("mnist-student-alone", [*tiny, "devices=2"])
    with pytest.raises(BackendFailedError, match="neurokd-1.*ended on its own.*exit status -9"):
        train(config, RunFolder(tmp_path), progress=kill)
    assert not multiprocessing.active_children() and not torch.distributed.is_initialized()


def test_a_batch_has_to_divide(tiny: list[str], tmp_path: Path) -> None:
    config = read_config("mnist-student-alone", [*tiny, "recipe.batch_size=31", "devices=2"])
    with pytest.raises(UsageError, match="does not divide.*multiple of 2.*31"):
        train(config, RunFolder(tmp_path))


def test_torchrun_must_have_started_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="torchrun.*expected 2, found 3"):
        run_on_devices(print, TrainConfig(role="teacher", devices=2), (), None)


def test_a_share_is_a_slice_of_the_batch() -> None:
    batch = torch.arange(12).reshape(6, 2)
    parts = [Devices(torch.device("cpu"), rank, 3).share(batch) for rank in range(3)]
    assert torch.equal(torch.cat(parts), batch)


def test_one_process_in_float32_needs_no_fabric() -> None:
    with opened(TrainConfig(role="teacher")) as devices:
        assert devices.fabric is None and devices.world == 1
        module = torch.nn.Linear(1, 1)
        assert devices.wrapped(module) is module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there() -> None:
    config = TrainConfig(role="teacher", device="cuda")
    with pytest.raises(BackendUnavailableError, match="GPU.*device = 'cpu'"), opened(config):
        pass
    with opened(TrainConfig(role="teacher", device="auto")) as devices:
        assert devices.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.training
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_trains_and_leaves_the_weights_on_the_cpu(
    tiny: list[str], tmp_path: Path, precision: str
) -> None:
    values = [*tiny, "device=cuda", f"precision={precision}", "recipe.validation=0.2"]
    teacher = train(read_config("mnist-teacher", values), RunFolder(tmp_path / "teacher"))
    model = train(read_config("mnist-student", values), RunFolder(tmp_path / "s"), teacher=teacher)
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert _rows(RunFolder(tmp_path / "s"))[-1]["split"] == "test"
