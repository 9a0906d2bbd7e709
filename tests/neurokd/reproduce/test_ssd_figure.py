"""Every picture from made-up runs: what is drawn is read back from the axes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from neurokd.report.figure import style
from neurokd.reproduce import STREAMS, StreamExperiment
from neurokd.reproduce.pool import Failure
from neurokd.reproduce.stream_figure import PLOTS, draw_streams
from neurokd.reproduce.stream_grid import StreamRun, make_stream_grid
from neurokd.reproduce.stream_results import StreamResults, summarise_streams
from neurokd.reproduce.stream_rows import draw_curves, series, task_ends
from neurokd.reproduce.stream_tasks import read_rows
from neurokd.run import RunFolder

EPOCHS = 8


def made_up_rows(run: StreamRun, tasks: int) -> Iterator[dict[str, Any]]:
    """Curves of a plausible shape, different for every order."""
    random = np.random.default_rng(run.seed)
    k = run.config.network.k or 1
    for epoch in range(1, tasks * EPOCHS + 1):
        task, within = (epoch - 1) // EPOCHS, (epoch - 1) % EPOCHS + 1
        place = {"task": task, "task_epoch": within, "epoch": epoch}
        known = 1 - np.exp(-within / 3) + 0.02 * random.standard_normal()
        yield {**place, "split": "train", "accuracy": float(np.clip(known, 0, 1))}
        seen = [float(np.clip(0.95 - 0.05 * (task - i), 0, 1)) for i in range(task)]
        seen.append(float(np.clip(known, 0, 1)))
        accuracy = float(np.mean(seen)) * len(seen) / tasks
        yield {**place, "split": "test", "accuracy": accuracy, "accuracies": seen}
        top = random.choice(12 + 20 * task, size=k, replace=False)
        probe: dict[str, Any] = {"top": [top.tolist()], "jaccard": 1 - 0.3 / within}
        if task:
            probe |= {"cosine": 1 - 0.02 * within, "kl": 0.5 / within}
        yield {**place, "split": "probe", **probe}


def made_up_grid(
    name: str, place: Path, *, seeds: int = 2, data: tuple[str, ...] = ("cifar10",), tasks: int = 5
) -> tuple[StreamResults, dict[str, RunFolder]]:
    experiment = STREAMS[name]
    runs = make_stream_grid(experiment, data, seeds)
    summaries, folders = {}, {}
    for number, run in enumerate(runs):
        value = 0.6 + 0.2 * np.sin(number) + 0.01 * run.seed
        probe = {"cosine": 0.9, "jaccard": 0.8, "kl": 0.1, "entropy_bits": 0.01}
        summaries[run.key] = {"val_acc": value, "bwt": value - 0.9, "probe": probe}
        folder = RunFolder(place / run.key)
        folder.path.mkdir(parents=True)
        folder.write_metrics(list(made_up_rows(run, tasks)))
        folders[run.key] = folder
    return summarise_streams(experiment, runs, summaries, {}), folders


def size_of(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def one_of_each() -> list[str]:
    """The name of an experiment for every kind of picture."""
    return sorted({experiment.plot: name for name, experiment in STREAMS.items()}.values())


def test_every_kind_of_picture_is_used() -> None:
    assert {experiment.plot for experiment in STREAMS.values()} == PLOTS.keys()


@pytest.mark.parametrize("name", one_of_each())
def test_a_picture_has_an_area_for_each_data_set(name: str, tmp_path: Path) -> None:
    results, folders = made_up_grid(name, tmp_path)
    one = draw_streams(results, folders)
    two, more = made_up_grid(name, tmp_path / "two", data=("mnist", "cifar10"), seeds=1)
    assert size_of(draw_streams(two, more))[1] > 1.7 * size_of(one)[1]


@pytest.mark.parametrize("name", one_of_each())
def test_runs_that_failed_leave_gaps(name: str, tmp_path: Path) -> None:
    experiment = STREAMS[name]
    runs = make_stream_grid(experiment, ["mnist"], 1)
    failures = {run.key: Failure("the loss is not finite") for run in runs}
    size_of(draw_streams(summarise_streams(experiment, runs, {}, failures), {}))


def test_many_tasks_share_a_panel(tmp_path: Path) -> None:
    results, folders = made_up_grid("ssd-fig7", tmp_path, tasks=12)
    size_of(draw_streams(results, folders))


def axes_of(experiment: StreamExperiment, place: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure itself, caught where it is saved."""
    caught: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *given: Any, **options: Any) -> None:
        caught.append(figure)
        save(figure, *given, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    results, folders = made_up_grid(experiment.name, place)
    draw_streams(results, folders)
    return caught[0]


def test_the_numbers_are_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = axes_of(STREAMS["ssd-table1"], tmp_path, monkeypatch)
    (panel,) = figure.axes
    assert [text.get_text() for text in panel.get_yticklabels()] == [
        arm.label for arm in STREAMS["ssd-table1"].arms
    ]
    published = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in panel.lines
        if line.get_marker() == "D"
    }
    assert published == {(71, 0), (44, 1), (65, 2), (81, 3), (87, 4)}


def test_a_heat_map_has_a_row_for_each_neuron_that_is_ever_among_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = axes_of(STREAMS["ssd-fig2"], tmp_path, monkeypatch)
    rows = read_rows(RunFolder(tmp_path / "cifar10-sdmlp-ordinal"))
    ever = {neuron for row in rows if row["split"] == "probe" for neuron in row["top"][0]}
    mesh = figure.axes[0].collections[0]
    cells = np.asarray(mesh.get_array())
    assert cells.shape == (len(ever), 5 * EPOCHS)
    assert ((cells > 0).sum(axis=0) == 10).all()


def test_the_mean_of_curves_and_the_ends_of_tasks() -> None:
    rows = [
        {"task": t, "epoch": 2 * t + e, "split": "train", "accuracy": 0.1 * t + e}
        for t in (0, 1)
        for e in (1, 2)
    ]
    assert task_ends({0: rows}) == [2, 4] and task_ends({}) == []
    curve = series(rows, "train", lambda row: row["accuracy"])
    assert curve == [(1, 1), (2, 2), (3, 1.1), (4, 2.1)]
    assert series(rows, "test", lambda row: 0.0) == []
    with style():
        panel = Figure().subplots()
        draw_curves(panel, [[(1, 0.0), (2, 1.0)], [], [(1, 1.0), (2, 2.0)]], "black")
        thick = panel.lines[-1]
        assert list(thick.get_xdata()) == [1, 2] and list(thick.get_ydata()) == [0.5, 1.5]


def test_a_picture_of_the_table_needs_no_rows(tmp_path: Path) -> None:
    results, folders = made_up_grid("ssd-table3", tmp_path)
    assert draw_streams(results, {}) == draw_streams(results, folders)
    renamed = replace(results, data=results.data * 2)
    assert size_of(draw_streams(renamed, {}))[1] > size_of(draw_streams(results, {}))[1]
    json.dumps(results.to_dict())
