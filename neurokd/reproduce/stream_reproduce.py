"""`reproduce_streams`: a grid of streams from its definition to its table, run by run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurokd import atomic
from neurokd.cache import lock
from neurokd.errors import FileFormatError, UsageError
from neurokd.reproduce.budget import Size
from neurokd.reproduce.plan import Plan, define, read_plan, write_plan
from neurokd.reproduce.pool import Pool
from neurokd.reproduce.schedule import Tell, duration, run_grid
from neurokd.reproduce.stream_budget import (
    StreamCost,
    fit_streams,
    full_sizes,
    sizes_of_epochs,
    stream_kind,
    stream_seconds,
    with_stream_sizes,
)
from neurokd.reproduce.stream_experiment import StreamExperiment
from neurokd.reproduce.stream_grid import StreamRun, make_stream_grid
from neurokd.reproduce.stream_results import StreamResults, number_at, summarise_streams
from neurokd.reproduce.stream_table import shown, stream_markdown
from neurokd.reproduce.stream_tasks import StreamTask, StreamTrial, finished_summary
from neurokd.run import RunFolder


@dataclass(frozen=True)
class StreamRequest:
    """What is asked: data sets (none: the experiment's choice), the first ``seeds`` of the paper's
    five orders, minutes or epochs of a task (neither: full length), neurons, and a file of
    embeddings to learn."""

    data: tuple[str, ...] = ()
    seeds: int = 3
    budget_minutes: float | None = None
    neurons: int | None = None
    embeddings: Path | None = None
    device: str = "cpu"
    epochs: int | None = None


def reproduce_streams(
    experiment: StreamExperiment, request: StreamRequest, out: Path, pool: Pool, tell: Tell
) -> StreamResults:
    """Learn what is missing of the grid and leave ``table.md``, ``results.json``, ``figure.png``.

    Each run is a run folder of continual learning, ``OUT/runs/<data>-<arm>-<order>``: finished ones
    are not repeated, interrupted ones go on from their checkpoint. Runs that fail are part of the
    results.

    Raises: `UsageError` for a request that makes no sense, a budget that is too small, or a folder
    that belongs to another grid; whatever a run raises whose cost is measured.
    """
    if request.budget_minutes is not None and request.budget_minutes <= 0:
        raise UsageError("the budget must be positive", where="--budget", remedy="or say full")
    runs = make_stream_grid(
        experiment,
        request.data or experiment.data,
        request.seeds,
        neurons=request.neurons,
        embeddings=request.embeddings and request.embeddings.absolute(),
        device=request.device,
    )
    embedded = _fingerprint(request.embeddings) if request.embeddings else None
    chosen = None
    if request.epochs is not None:
        chosen = Plan(full_sizes(runs), sizes_of_epochs(runs, request.epochs), {})
        runs = with_stream_sizes(runs, chosen.used)
    definition = define(experiment.name, request.budget_minutes, embedded, runs)
    plan = read_plan(out, definition) or chosen

    with pool:
        if plan is None:
            plan = _plan(request, runs, pool, tell)  # nothing is written before this
        with lock(out / ".lock", lambda: tell(f"{out}: another process works here; waiting")):
            stored = read_plan(out, definition)
            if stored is None:
                write_plan(out, definition, plan)
            plan = stored or plan
            if plan.used and chosen is None:
                runs = with_stream_sizes(runs, plan.used)
            folders = {run.key: RunFolder(out / "runs" / run.key) for run in runs}
            known = {key: finished_summary(folder) for key, folder in folders.items()}
            finished = {key: summary for key, summary in known.items() if summary is not None}
            if finished:
                tell(f"{len(finished)} of {len(runs)} runs are finished already")
            summaries, failures = run_grid(
                runs,
                finished,
                lambda run: StreamTask(run.key, run.config, folders[run.key].path),
                pool,
                tell,
                plan.seconds,
                lambda summary: _said(experiment, summary),
            )
            results = summarise_streams(
                experiment,
                runs,
                summaries,
                failures,
                budget_minutes=request.budget_minutes,
                plan=plan,
                neurons=request.neurons,
            )
            _write(results, {key: folders[key] for key in summaries}, out)
    return results


def _write(results: StreamResults, folders: Mapping[str, RunFolder], out: Path) -> None:
    from neurokd.reproduce.stream_figure import draw_streams

    atomic.write_text(out / "table.md", stream_markdown(results))
    atomic.write_text(out / "results.json", json.dumps(results.to_dict(), indent=1) + "\n")
    atomic.write_bytes(out / "figure.png", draw_streams(results, folders))


def _said(experiment: StreamExperiment, summary: Mapping[str, Any]) -> str:
    main = experiment.quantities[0]
    value = number_at(summary, main.key)
    return f"{main.label} {'unknown' if value is None else shown(main.scale * value, main)}"


def _plan(request: StreamRequest, runs: Sequence[StreamRun], pool: Pool, tell: Tell) -> Plan:
    """Measure one run of each kind, and give each run its size; without a budget, nothing."""
    if request.budget_minutes is None:
        return Plan({}, {}, {})
    kinds = {stream_kind(run): run for run in runs}
    tell(f"measuring what a run takes here: {len(kinds)} kinds, a few batches each")
    for kind, run in kinds.items():
        pool.submit(StreamTrial(kind, run.config))
    costs: dict[str, StreamCost] = {}
    for _ in kinds:
        done = pool.next_done()
        if done.failure:
            raise done.failure.as_error(f"measuring {done.key}")
        costs[done.key] = done.result
    used = fit_streams(runs, costs, pool.workers, 60 * request.budget_minutes)
    full = {
        run.key: Size(run.config.learning.epochs, costs[stream_kind(run)].samples) for run in runs
    }
    seconds = {run.key: stream_seconds(run, used[run.key], costs[stream_kind(run)]) for run in runs}
    total = sum(seconds.values()) / pool.workers
    tell(f"{len(runs)} runs, {pool.workers} at a time: about {duration(total)}")
    return Plan(full, used, seconds)


def _fingerprint(file: Path) -> str:
    if not file.is_file():
        raise FileFormatError("no such file", where=f"--embeddings {file}")
    return hashlib.sha256(file.read_bytes()).hexdigest()
