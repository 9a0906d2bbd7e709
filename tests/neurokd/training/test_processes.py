"""Several processes share every batch, and compute what one would."""

import importlib
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from neurokd.config import TrainConfig, read_config
from neurokd.errors import BackendFailedError, BackendUnavailableError, UsageError
from neurokd.run import RunFolder, configured_model
from neurokd.training import train
from neurokd.training.devices import opened
from neurokd.training.processes import run_on_devices


def _rows(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.metrics.read_text().splitlines()]


@pytest.mark.training
def test_two_processes_give_the_loss_curve_of_one_with_the_doubled_batch(
    tiny: list[str], tmp_path: Path
) -> None:
    """Two of 16 samples each against one of 32, in all that a batch has in common: its statistics
    in batch normalisation, the extremes of its maps in SAMD, the noise of NLD, mixup."""
    values = [*tiny, "recipe.mixup=0.2", "recipe.validation=0.2", "recipe.ema=0.9"]
    # slowly: a membrane that another rounding moves over its threshold changes what follows
    values += ["recipe.clip_norm=1.0", "recipe.epochs=2", "recipe.learning_rate=1e-3"]
    teacher = train(read_config("mnist-teacher", tiny), RunFolder(tmp_path / "teacher"))
    folders = [RunFolder(tmp_path / str(devices)) for devices in (1, 2)]
    said: list[tuple[int, int]] = []
    for devices, folder in enumerate(folders, start=1):
        config = read_config("mnist-student", [*values, f"devices={devices}"])
        train(config, folder, teacher=teacher, progress=lambda *told: said.append(told[:2]))
    one, two = (_rows(folder) for folder in folders)
    assert [row["split"] for row in one] == ["train", "validation"] * 2 + ["test"]
    for a, b in zip(one, two, strict=True):
        # The same sums in another order: float32 rounds at 6e-8. On another processor that may
        # move a membrane across its threshold, hence the room for a few spikes.
        for name in {"loss", "ce", "samd", "nld"} & a.keys():
            assert b[name] == pytest.approx(a[name], rel=1e-2), name
        assert b["split"] == a["split"] and b["epoch"] == a["epoch"]
        assert b["accuracy"] == pytest.approx(a["accuracy"], abs=0.05)
        assert b.get("rates", {}) == pytest.approx(a.get("rates", {}), rel=1e-2)
    assert said[:8] == said[8:]  # only the first process tells
    torch.manual_seed(folders[0].config().seed)
    start = parameters_to_vector(configured_model(folders[0].config()).parameters())
    way, other = (parameters_to_vector(f.load_model().parameters()) - start for f in folders)
    assert (way - other).norm() < 0.05 * way.norm()  # gradients that are not shared part them
    assert not torch.distributed.is_initialized() and "LOCAL_RANK" not in os.environ


WORK = """
import os, signal, time
import torch
from neurokd.errors import UsageError

def die(devices, config, progress):
    if not devices.is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    devices.wait()

def refuse(devices, config, progress):
    if not devices.is_first:
        raise UsageError("no", where="there", remedy="yes")
    devices.wait()

def stay(devices, config, progress):
    devices.wait()
    if devices.is_first:
        print("both are here", flush=True)
    while True:
        time.sleep(3600)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What processes do, in a module that each of them can import."""
    (tmp_path / "devices_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "devices_work", raising=False)
    return importlib.import_module("devices_work")


TWO = TrainConfig(role="teacher", devices=2)


def _started() -> list[str]:
    """Names of what `run_on_devices` started and has not stopped; other tests have processes."""
    names = [process.name for process in multiprocessing.active_children()]
    return [name for name in names if name.startswith("neurokd-")]


def test_a_process_that_dies_is_named(work: ModuleType) -> None:
    with pytest.raises(BackendFailedError, match="neurokd-1.*ended on its own.*exit status -9"):
        run_on_devices(work.die, TWO, (), None)
    assert not _started() and not torch.distributed.is_initialized()


@pytest.mark.slow
def test_what_another_process_refuses_is_raised_here(work: ModuleType) -> None:
    with pytest.raises(UsageError, match="there: no.*yes"):
        run_on_devices(work.refuse, TWO, (), None)
    assert not _started() and not torch.distributed.is_initialized()


def test_no_process_outlives_the_first(work: ModuleType, tmp_path: Path) -> None:
    """However busy: here it does not even wait for the first one, whose loss it would notice."""
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import devices_work\n"
        "from neurokd.config import TrainConfig\n"
        "from neurokd.training.processes import run_on_devices\n"
        "run_on_devices(devices_work.stay, TrainConfig(role='teacher', devices=2), (), None)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "both are here\n"
    first.kill()
    first.communicate(timeout=60)  # until nobody has its output open any more


def test_a_batch_has_to_divide(tiny: list[str], tmp_path: Path) -> None:
    config = read_config("mnist-student-alone", [*tiny, "recipe.batch_size=31", "devices=2"])
    with pytest.raises(UsageError, match="does not divide.*multiple of 2.*31"):
        train(config, RunFolder(tmp_path))


def test_torchrun_must_have_started_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="torchrun.*expected 2, found 3"):
        run_on_devices(print, TWO, (), None)
    integers = TrainConfig(role="student", devices=3, qat=True)
    with pytest.raises(UsageError, match="qat.*without torchrun.*devices=3"):
        run_on_devices(print, integers, (), None)


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
