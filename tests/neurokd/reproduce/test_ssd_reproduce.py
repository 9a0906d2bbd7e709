"""A real grid of tiny streams: on processes, gone on with, measured for a budget."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from neurokd.data import load_data
from neurokd.errors import FileFormatError, UsageError
from neurokd.reproduce import (
    STREAMS,
    StreamBase,
    StreamExperiment,
    StreamRequest,
    reproduce_streams,
)
from neurokd.reproduce.process_pool import ProcessPool
from neurokd.reproduce.ray_pool import RayPool
from neurokd.run import RunFolder

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> StreamExperiment:
    """Figure 7 on four classes of a few digits: 6 epochs with 20 neurons."""
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "test"):
        data = load_data(f"mnist-subset:{split}")
        chosen = np.flatnonzero(data.y < 4)[:80]
        np.savez(folder / f"{split}.npz", x=data.x[chosen], y=data.y[chosen])
    base = StreamBase(str(folder), 6, 200, {})
    return replace(STREAMS["ssd-fig7"], bases={"tiny": base}, data=("tiny",), neurons=20, points=3)


@pytest.fixture(scope="module")
def whole(experiment: StreamExperiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grid") / "whole"
    said: list[str] = []
    request = StreamRequest(seeds=2)
    results = reproduce_streams(experiment, request, out, ProcessPool(1), said.append)
    assert not results.failures
    assert said[-1].startswith("2/2 tiny-ssd-3: Val.Acc (%) ")
    return out


def test_a_grid_leaves_its_table_its_figure_and_every_run(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()} - {".lock"}
    assert names == {"grid.json", "table.md", "results.json", "figure.png", "runs"}
    content = json.loads((whole / "results.json").read_text())
    (arm,) = content["data"][0]["arms"]
    for order in ("ordinal", "3"):
        run = whole / "runs" / f"tiny-ssd-{order}"
        summary = json.loads((run / "continual.json").read_text())
        assert arm["quantities"]["val_acc"]["by_order"][order] == pytest.approx(
            100 * summary["val_acc"]
        )
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        tests = [row["task_epoch"] for row in rows if row["split"] == "test" and row["task"] == 1]
        assert tests == [2, 4, 6]
    assert "| SSD |" in (whole / "table.md").read_text()


def test_a_grid_goes_on_where_it_stopped(
    experiment: StreamExperiment, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cut"
    shutil.copytree(whole, out)
    run = out / "runs" / "tiny-ssd-3"
    before = RunFolder(run).fingerprint()
    for name in ("continual.json", "model.safetensors", "last.ckpt"):
        (run / name).unlink()
    kept = (out / "runs" / "tiny-ssd-ordinal" / "model.safetensors").stat().st_mtime_ns
    said: list[str] = []
    request = StreamRequest(seeds=2)
    reproduce_streams(experiment, request, out, ProcessPool(1), said.append)
    assert said[0] == "1 of 2 runs are finished already" and said[1].startswith("2/2 tiny-ssd-3")
    assert RunFolder(run).fingerprint() == before
    assert (out / "runs" / "tiny-ssd-ordinal" / "model.safetensors").stat().st_mtime_ns == kept
    for name in ("table.md", "results.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_budget_is_measured_and_kept(experiment: StreamExperiment, tmp_path: Path) -> None:
    out, request = tmp_path / "out", StreamRequest(seeds=1, budget_minutes=60)
    said: list[str] = []
    results = reproduce_streams(experiment, request, out, ProcessPool(1), said.append)
    assert not results.failures and results.changes == ()
    assert said[0] == "measuring what a run takes here: 1 kinds, a few batches each"
    plan = json.loads((out / "grid.json").read_text())
    assert plan["used"] == {"tiny-ssd-ordinal": {"epochs": 6, "samples": 80}}
    assert all(seconds > 0 for seconds in plan["seconds"].values())
    again: list[str] = []
    reproduce_streams(experiment, request, out, ProcessPool(1), again.append)
    assert again == ["1 of 1 runs are finished already"]


def test_the_epochs_of_a_task_can_be_given_instead(
    experiment: StreamExperiment, tmp_path: Path
) -> None:
    out, request = tmp_path / "out", StreamRequest(seeds=1, epochs=3)
    said: list[str] = []
    results = reproduce_streams(experiment, request, out, ProcessPool(1), said.append)
    assert results.changes == ("tiny: 6 → 3 epochs a task, N_gaba in proportion (200 → 100)",)
    config = RunFolder(out / "runs" / "tiny-ssd-ordinal").continual_config()
    assert config.learning.epochs == 3 and config.network.switch_samples == 100
    assert config.learning.evaluate_every == 1
    again: list[str] = []
    reproduce_streams(experiment, request, out, ProcessPool(1), again.append)
    assert again == ["1 of 1 runs are finished already"]
    for epochs in (2, None):
        with pytest.raises(UsageError, match="another grid"):
            other = StreamRequest(seeds=1, epochs=epochs)
            reproduce_streams(experiment, other, out, ProcessPool(1), said.append)


def test_what_cannot_be_is_refused_and_leaves_nothing(
    experiment: StreamExperiment, whole: Path, tmp_path: Path
) -> None:
    requests: list[tuple[StreamRequest, str]] = [
        (StreamRequest(data=("imagenet",)), "no definition"),
        (StreamRequest(budget_minutes=-1), "budget must be positive"),
        (StreamRequest(seeds=6), "five"),
        (StreamRequest(neurons=5), "--neurons"),
        (StreamRequest(epochs=7), "2 … 6"),
        (StreamRequest(epochs=1), "2 … 6"),
    ]
    for request, message in requests:
        with pytest.raises(UsageError, match=message):
            reproduce_streams(
                experiment, request, tmp_path / "o", ProcessPool(1), lambda line: None
            )
    with pytest.raises(FileFormatError, match="no such file"):
        missing = StreamRequest(embeddings=tmp_path / "none.safetensors")
        reproduce_streams(experiment, missing, tmp_path / "o", ProcessPool(1), lambda line: None)
    with pytest.raises(UsageError, match="another grid"):
        other = StreamRequest(seeds=2, neurons=30)
        reproduce_streams(experiment, other, whole, ProcessPool(1), lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ray_gives_the_same(experiment: StreamExperiment, whole: Path, tmp_path: Path) -> None:
    if find_spec("ray") is None and os.environ.get("CI") != "true":
        pytest.skip("Ray is an extra")
    out = tmp_path / "out"
    pool = RayPool("local", 1)
    results = reproduce_streams(experiment, StreamRequest(seeds=2), out, pool, lambda line: None)
    assert not results.failures
    for name in ("table.md", "results.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
