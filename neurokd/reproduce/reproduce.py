"""`reproduce`: a grid from its definition to its table, going on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurokd import atomic
from neurokd.cache import lock
from neurokd.errors import UsageError
from neurokd.reproduce.budget import (
    Cost,
    Kind,
    fit_budget,
    full_size,
    kind_of,
    run_seconds,
    with_sizes,
)
from neurokd.reproduce.experiment import Experiment
from neurokd.reproduce.grid import GridRun, make_grid
from neurokd.reproduce.plan import Plan, define, read_plan, write_plan
from neurokd.reproduce.pool import Failure, Pool
from neurokd.reproduce.results import Results, summarise
from neurokd.reproduce.schedule import Tell, duration, run_grid
from neurokd.reproduce.table import markdown
from neurokd.reproduce.tasks import Teacher, TrainingTask, TrialTask, tested_accuracy
from neurokd.run import RunFolder


@dataclass(frozen=True)
class Request:
    """What is asked of an experiment: its data sets (none: its own choice), seeds 0 … n − 1,
    minutes (None: the full recipes), and weights of a foreign teacher, a run or a file."""

    data: tuple[str, ...] = ()
    seeds: int = 3
    budget_minutes: float | None = None
    teacher: Path | None = None
    device: str = "cpu"


def reproduce(
    experiment: Experiment, request: Request, out: Path, pool: Pool, tell: Tell
) -> Results:
    """Run what is missing of the grid and leave ``table.md``, ``results.json``, ``figure.png``.

    Each run has a folder of its own, ``OUT/runs/<data>-<arm>-<seed>``: finished ones are not
    repeated, interrupted ones go on from their checkpoint. Runs that fail are part of the results.

    Raises: `UsageError` for a request that makes no sense, a budget that is too small, or a folder
    that belongs to another grid; whatever a run raises whose cost is measured.
    """
    runs = _requested_runs(experiment, request)
    foreign = _foreign_teacher(experiment, request, runs[0].data)
    fingerprint = _fingerprint(foreign) if foreign else None
    definition = define(experiment.name, request.budget_minutes, fingerprint, runs)
    plan = read_plan(out, definition)

    with pool:
        if plan is None:
            plan = _plan(experiment, request, runs, pool, tell)  # nothing is written before this
        with lock(out / ".lock", lambda: tell(f"{out}: another process works here; waiting")):
            stored = read_plan(out, definition)
            if stored is None:
                write_plan(out, definition, plan)
            plan = stored or plan
            if plan.used:
                runs = with_sizes(runs, plan.used)
            accuracies, failures = _do(runs, plan, foreign, out, pool, tell)
            results = summarise(
                experiment,
                runs,
                accuracies,
                failures,
                budget_minutes=request.budget_minutes,
                plan=plan,
            )
            write_results(results, out)
    return results


def _requested_runs(experiment: Experiment, request: Request) -> tuple[GridRun, ...]:
    data = request.data or experiment.data
    if request.teacher and len(data) != 1:
        raise UsageError(
            "a foreign teacher knows one data set",
            where="--teacher",
            expected="one name in --data",
            found=", ".join(data),
        )
    if request.budget_minutes is not None and request.budget_minutes <= 0:
        raise UsageError("the budget must be positive", where="--budget", remedy="or say full")
    return make_grid(
        experiment,
        data,
        request.seeds,
        foreign_teacher=request.teacher is not None,
        device=request.device,
    )


def _do(
    runs: Sequence[GridRun],
    plan: Plan,
    foreign: Teacher | None,
    out: Path,
    pool: Pool,
    tell: Tell,
) -> tuple[dict[str, float], dict[str, Failure]]:
    """Train what is not finished; accuracies and failures by the runs' keys."""
    folders = {run.key: RunFolder(out / "runs" / run.key) for run in runs}
    known = {key: tested_accuracy(folder) for key, folder in folders.items()}
    finished = {key: value for key, value in known.items() if value is not None}
    if finished:
        tell(f"{len(finished)} of {len(runs)} runs are finished already")

    def task(run: GridRun) -> TrainingTask:
        teacher = Teacher(run=folders[run.needs].path) if run.needs else foreign
        given = teacher if run.config.distill else None
        return TrainingTask(run.key, run.config, folders[run.key].path, given)

    return run_grid(runs, finished, task, pool, tell, plan.seconds)


def write_results(results: Results, out: Path) -> None:
    """Leave the table, the numbers and the picture in the folder."""
    from neurokd.reproduce.figure import draw

    atomic.write_text(out / "table.md", markdown(results))
    atomic.write_text(out / "results.json", json.dumps(results.to_dict(), indent=1) + "\n")
    atomic.write_bytes(out / "figure.png", draw(results))


def _plan(
    experiment: Experiment, request: Request, runs: Sequence[GridRun], pool: Pool, tell: Tell
) -> Plan:
    """Measure one run of each kind, and give each run its size; without a budget, nothing."""
    if request.budget_minutes is None:
        return Plan({}, {}, {})
    kinds: dict[Kind, GridRun] = {}
    for run in runs:
        kinds[kind_of(run)] = run  # the last one: of the arms, that with all losses
    tell(f"measuring what a run takes here: {len(kinds)} kinds, a few batches each")
    for kind, run in kinds.items():
        teacher = experiment.bases[run.data].teacher if run.config.distill else None
        pool.submit(TrialTask("-".join(kind), run.config, teacher))
    names = {"-".join(kind): kind for kind in kinds}
    costs: dict[Kind, Cost] = {}
    for _ in kinds:
        done = pool.next_done()
        if done.failure:
            raise done.failure.as_error(f"measuring {done.key}")
        costs[names[done.key]] = done.result
    used = fit_budget(runs, costs, pool.workers, 60 * request.budget_minutes)
    full = {run.key: full_size(run.config, costs[kind_of(run)].samples) for run in runs}
    seconds = {run.key: run_seconds(used[run.key], costs[kind_of(run)]) for run in runs}
    total = sum(seconds.values()) / pool.workers
    tell(f"{len(runs)} runs, {pool.workers} at a time: about {duration(total)}")
    return Plan(full, used, seconds)


def _foreign_teacher(experiment: Experiment, request: Request, data: str) -> Teacher | None:
    """The teacher that is given; it is loaded once here, so that it is refused early."""
    if request.teacher is None:
        return None
    if request.teacher.is_dir():
        teacher = Teacher(run=request.teacher)
        if RunFolder(request.teacher).config().role != "teacher":
            raise UsageError(
                "this is not the run of a teacher", where=f"--teacher {request.teacher}"
            )
    else:
        teacher = Teacher(weights=request.teacher, config=experiment.bases[data].teacher)
    teacher.load()
    return teacher


def _fingerprint(teacher: Teacher) -> str:
    if teacher.run is not None:
        return RunFolder(teacher.run).fingerprint()
    assert teacher.weights is not None
    return hashlib.sha256(teacher.weights.read_bytes()).hexdigest()
