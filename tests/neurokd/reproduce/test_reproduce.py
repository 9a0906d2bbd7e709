"""A real grid of tiny runs: on processes, killed and resumed, measured for a budget, and on Ray."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from neurokd.config import DistillConfig, ModelConfig, RecipeConfig, TrainConfig
from neurokd.errors import BackendUnavailableError, FileFormatError, UsageError
from neurokd.reproduce import Arm, Base, Experiment, Published, Request, reproduce
from neurokd.reproduce.process_pool import ProcessPool
from neurokd.reproduce.ray_pool import RayPool
from neurokd.run import RunFolder

pytestmark = pytest.mark.training

FULL = "tiny-full-0"
# Installed in every worker: the first one that is about to replace a checkpoint of this run by a
# second one ends itself there.
KILLER = """
import os, signal, sys
from pathlib import Path
def watch(event, arguments, here=Path({here!r}), run={run!r}):
    if event == "os.rename" and str(arguments[1]).endswith(run + "/last.ckpt"):
        if Path(str(arguments[1])).exists() and not (here / "killed").exists():
            (here / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
"""


def tiny_experiment(data: str) -> Experiment:
    """Two arms on 100 digits, two epochs."""
    teacher = TrainConfig(
        role="teacher",
        data=data,
        model=ModelConfig(channels=(4, 6), kernels=(3, 3), strides=(2, 2)),
        recipe=RecipeConfig(epochs=2, batch_size=20),
    )
    student = teacher.model_copy(update={"role": "student", "steps": 2})
    return Experiment(
        name="tiny",
        title="Tiny",
        setting="none",
        arms=(
            Arm("alone", "alone", None),
            Arm("full", "full", DistillConfig(), (Published(50.0, "nowhere"),)),
        ),
        baseline="alone",
        proposed="full",
        orderings=(("full", "alone"),),
        bases={"tiny": Base(teacher, student)},
        data=("tiny",),
    )


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    import numpy as np

    from neurokd.data import load_data

    data = load_data("mnist-subset:train").first(100)
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "test"):
        np.savez(folder / f"{split}.npz", x=data.x, y=data.y)
    return tiny_experiment(str(folder))


@pytest.fixture(scope="module")
def whole(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid of two seeds, done without interruption."""
    out = tmp_path_factory.mktemp("grid") / "whole"
    results = reproduce(experiment, Request(seeds=2), out, ProcessPool(2), lambda line: None)
    assert not results.failures
    return out


def _fingerprints(out: Path) -> dict[str, str]:
    return {run.name: RunFolder(run).fingerprint() for run in sorted((out / "runs").iterdir())}


def test_a_grid_leaves_its_table_and_every_run(whole: Path) -> None:
    assert set(_fingerprints(whole)) == {
        f"tiny-{arm}-{seed}" for arm in ("teacher", "alone", "full") for seed in (0, 1)
    }
    names = {path.name for path in whole.iterdir()} - {".lock"}
    assert names == {"grid.json", "table.md", "results.json", "figure.png", "runs"}
    content = json.loads((whole / "results.json").read_text())
    (data,) = content["data"]
    for arm in data["arms"]:
        of_runs = [
            json.loads((whole / "runs" / f"tiny-{arm['arm']}-{seed}" / "metrics.jsonl")
            .read_text().splitlines()[-1])["accuracy"]
            for seed in (0, 1)
        ]  # fmt: skip
        assert arm["percent_by_seed"] == pytest.approx(
            {str(seed): 100 * value for seed, value in enumerate(of_runs)}
        )
    assert "| full |" in (whole / "table.md").read_text()
    assert RunFolder(whole / "runs" / FULL).config().distill == DistillConfig()
    teacher = whole / "runs" / "tiny-teacher-0"
    assert json.loads((whole / "runs" / FULL / "teacher.json").read_text()) == {
        "source": str(teacher),
        "sha256": RunFolder(teacher).fingerprint(),
    }


def test_killed_and_resumed_run_by_run(
    experiment: Experiment, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(KILLER.format(here=str(tmp_path), run=FULL))
    paths = [str(hook), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    out = tmp_path / "cut"
    shutil.copytree(whole, out)  # where all but one run are finished
    shutil.rmtree(out / "runs" / FULL)
    first = reproduce(experiment, Request(seeds=2), out, ProcessPool(1), lambda line: None)
    assert list(first.failures) == [FULL] and "SIGKILL" in first.failures[FULL].line
    assert RunFolder(out / "runs" / FULL).checkpoint.is_file()
    assert f"FAILED {FULL}" in (out / "table.md").read_text()
    weights = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/model.safetensors")}
    assert len(weights) == 5

    said: list[str] = []
    second = reproduce(experiment, Request(seeds=2), out, ProcessPool(1), said.append)
    assert not second.failures
    assert said[0] == "5 of 6 runs are finished already" and said[1].startswith(f"6/6 {FULL}")
    assert {path: path.stat().st_mtime_ns for path in weights} == weights  # none was repeated
    assert _fingerprints(out) == _fingerprints(whole)
    for name in ("table.md", "results.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_another_grid_in_the_folder_is_refused(experiment: Experiment, whole: Path) -> None:
    before = (whole / "results.json").read_bytes()
    for other in (Request(seeds=3), Request(seeds=2, budget_minutes=5)):
        with pytest.raises(UsageError, match="another grid"):
            reproduce(experiment, other, whole, ProcessPool(1), lambda line: None)
    longer = experiment.bases["tiny"].student.model_copy(update={"steps": 3})
    changed = replace(experiment, bases={"tiny": replace(experiment.bases["tiny"], student=longer)})
    with pytest.raises(UsageError, match="another grid"):
        reproduce(changed, Request(seeds=2), whole, ProcessPool(1), lambda line: None)
    assert (whole / "results.json").read_bytes() == before


def test_a_budget_and_a_foreign_teacher(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    """An hour is more than enough, so that the sizes stay; what was measured is kept."""
    out, run = tmp_path / "out", whole / "runs" / "tiny-teacher-0"
    request = Request(seeds=1, budget_minutes=60, teacher=run)
    said: list[str] = []
    results = reproduce(experiment, request, out, ProcessPool(1), said.append)
    assert not results.failures and results.shrunk == () and results.data[0].teacher is None
    assert said[0] == "measuring what a run takes here: 2 kinds, a few batches each"
    plan = json.loads((out / "grid.json").read_text())
    assert plan["used"] == dict.fromkeys(
        ("tiny-alone-0", "tiny-full-0"), {"epochs": 2, "samples": 100}
    )
    assert all(seconds > 0 for seconds in plan["seconds"].values())
    # The same teacher and the same seed: the same students.
    assert _fingerprints(out).items() <= _fingerprints(whole).items()
    again: list[str] = []
    reproduce(experiment, request, out, ProcessPool(1), again.append)
    assert again == ["2 of 2 runs are finished already"]  # nothing is measured twice


def test_what_cannot_be_is_refused_and_leaves_nothing(
    experiment: Experiment, whole: Path, tmp_path: Path
) -> None:
    student = whole / "runs" / "tiny-alone-0"
    requests: list[tuple[Request, str]] = [
        (Request(teacher=student), "not the run of a teacher"),
        (Request(data=("tiny", "tiny"), teacher=student), "one data set"),
        (Request(data=("imagenet",)), "no definition"),
        (Request(budget_minutes=-1), "budget must be positive"),
    ]
    for request, message in requests:
        with pytest.raises(UsageError, match=message):
            reproduce(experiment, request, tmp_path / "out", ProcessPool(1), lambda line: None)
    with pytest.raises(FileFormatError, match="no such file"):
        missing = Request(teacher=tmp_path / "none.safetensors")
        reproduce(experiment, missing, tmp_path / "out", ProcessPool(1), lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ray_gives_the_same(experiment: Experiment, whole: Path, tmp_path: Path) -> None:
    if find_spec("ray") is None and os.environ.get("CI") != "true":
        pytest.skip("Ray is an extra")
    pool = RayPool("local", 2)
    results = reproduce(experiment, Request(seeds=2), tmp_path / "out", pool, lambda line: None)
    assert not results.failures
    assert _fingerprints(tmp_path / "out") == _fingerprints(whole)


def test_without_ray_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendUnavailableError, match=r"neurokd\[ray\]"):
        RayPool("local", 1)
