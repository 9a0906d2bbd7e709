"""A stream is deployed task by task, and goes on where it was interrupted."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from neurokd.continual.load_stream import load_stream
from neurokd.continual.spiking.deploy import deploy, measure
from neurokd.continual.spiking.deployed_data import deployed_data, task_in_messages
from neurokd.continual.spiking.load_spiking import load_spiking
from neurokd.continual.spiking.stream import spike_stream
from neurokd.continual.spiking.to_nir import to_nir
from neurokd.data.steps_first import lowering_arguments
from neurokd.errors import FileFormatError, UsageError
from neurokd.export import lower
from neurokd.run import RunFolder
from neurokd.verify import verify


@pytest.fixture(scope="module")
def spiked(learned: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run with its spiking student."""
    run = RunFolder(tmp_path_factory.mktemp("spiked") / "run")
    shutil.copytree(learned.path, run.path)
    spike_stream(run, run.continual_config())
    return run


def files(run: RunFolder) -> dict[str, bytes]:
    folder = run.path / "spiking"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.training
def test_every_task_leaves_a_student_and_its_measurements(spiked: RunFolder) -> None:
    assert set(files(spiked)) == {
        "deployment.json",
        "deployment.png",
        "model.safetensors",
        *(f"tasks/{i}.{end}" for i in (0, 1) for end in ("json", "safetensors")),
    }
    summary = json.loads((spiked.path / "spiking" / "deployment.json").read_text())
    assert [row["classes"] for row in summary["rows"]] == [[0, 1], [2, 3]]
    for index, row in enumerate(summary["rows"]):
        assert len(row["deployed"]) == index + 1
        # what is trained is what is deployed
        assert row["student"] == row["deployed"] and row["agreement"] == 1.0
        assert not row["overflows"]
        # most of the 64 inputs send a message to 60 neurons; inhibition adds to it
        assert 60 * 40 < row["cost"]["synaptic_operations"] < 2 * 60 * 64
        assert row["cost"]["dense_operations"] == 60 * (64 + 4)
        assert 0.5 * 4 <= row["winners"][-1] <= 1.5 * 4
        assert row["mean_winners"] == pytest.approx(np.mean(row["winners"]))
    for name in ("float", "student", "deployed"):
        first, last = (row[name] for row in summary["rows"])
        assert first == [1.0] and min(last) >= 0.45
        assert summary["bwt"][name] == pytest.approx(last[0] - first[0])
        assert summary["accuracy"][name] == pytest.approx(np.mean(last))
    assert abs(summary["accuracy"]["deployed"] - summary["accuracy"]["float"]) < 0.1


@pytest.mark.training
def test_an_interrupted_stream_goes_on_to_the_same_bytes(spiked: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(spiked.path, run.path)
    config = run.continual_config()
    folder = run.path / "spiking"
    first = (folder / "tasks" / "0.safetensors").stat().st_mtime_ns
    (folder / "tasks" / "1.json").unlink()  # killed after its weights were written
    for name in ("deployment.json", "deployment.png", "model.safetensors"):
        (folder / name).unlink()
    told: list[int] = []
    spike_stream(run, config, lambda done, total, said: told.append(done), resume=True)
    assert files(run) == files(spiked) and told == [1, 2]
    assert (folder / "tasks" / "0.safetensors").stat().st_mtime_ns == first
    (folder / "tasks" / "0.json").write_text("[]")
    with pytest.raises(FileFormatError, match="not the row"):
        spike_stream(run, config, resume=True)


@pytest.mark.training
def test_other_weights_are_not_taken_for_finished_ones(spiked: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(spiked.path, run.path)
    shutil.copy(run.path / "tasks" / "1.safetensors", run.path / "tasks" / "0.safetensors")
    spike_stream(run, run.continual_config(), resume=True)
    changed = {name for name, content in files(spiked).items() if files(run)[name] != content}
    assert {"tasks/0.json", "tasks/1.json"} <= changed


@pytest.mark.training
def test_the_student_of_a_run_is_verified_on_the_data_of_the_chip(spiked: RunFolder) -> None:
    config = spiked.continual_config()
    student = load_spiking(spiked)
    task = load_stream(config).tasks[1]
    train, test = (deployed_data(config, data) for data in (task.train, task.test))
    net = lower(to_nir(student), "loihi2", **lowering_arguments(train, "loihi2"))
    verdict = verify(student, net, test, ["emulator"], tolerance=0.0)
    assert verdict.holds and verdict.rows[1].agreement == 1.0


@pytest.mark.training
def test_winners_are_the_neurons_that_fire(spiked: RunFolder) -> None:
    student = load_spiking(spiked)
    task = task_in_messages(load_stream(spiked.continual_config()).tasks[1])
    net = deploy(student, task.train)
    measured = measure(net, task.test)
    with torch.no_grad():
        a = student.pulse.activations(torch.from_numpy(task.test.x))
        expected = (student.pulse.winners(a) > 0).sum(dim=1)
    assert measured.winners.tolist() == expected.tolist()


def test_a_run_that_is_not_complete_is_refused(learned: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(learned.path, run.path)
    (run.path / "tasks" / "0.safetensors").unlink()
    with pytest.raises(FileFormatError, match="no such file"):
        spike_stream(run, run.continual_config())
    with pytest.raises(FileFormatError, match="no such file"):
        load_spiking(run)
    config = run.continual_config().model_copy(update={"spiking": None})
    with pytest.raises(UsageError, match="no spiking student"):
        spike_stream(run, config)
