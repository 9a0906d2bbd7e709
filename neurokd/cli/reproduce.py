"""`neurokd reproduce`: a table of a paper, from a grid of training runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurokd.cli import console
from neurokd.cli.failure import BAD_INPUT, BUG
from neurokd.cli.options import Json
from neurokd.errors import UsageError
from neurokd.run import RUNS

if TYPE_CHECKING:
    from neurokd.reproduce import Request
    from neurokd.reproduce.pool import Pool


def run(
    name: Annotated[str, typer.Argument(help="ckdsnn-ablation, ckdsnn-scaling or ckdsnn-cifar.")],
    budget: Annotated[
        str,
        typer.Option(
            help="Minutes that the grid may take here, or full: the recipes as they are.",
            metavar="MINUTES|full",
        ),
    ] = "30",
    seeds: Annotated[int, typer.Option(help="Seeds 0 … N − 1 of each arm.", metavar="N")] = 3,
    data: Annotated[
        str | None,
        typer.Option(help="Data sets, separated by commas.", metavar="NAME,…"),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="A trained teacher instead of one for each seed.", metavar="RUN|FILE"),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Run on this Ray cluster; local starts one here.", metavar="ADDRESS"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Runs at a time; cores / threads.", metavar="N")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of each run.", metavar="N")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="The folder, runs/NAME by default.", metavar="DIR")
    ] = None,
    as_json: Json = False,
) -> int:
    """Train every arm of a table with several seeds and set the results beside the paper's.

    The table has accuracy (mean ± standard error over seeds), the gain on the student alone,
    paired by seed, the paper's number, and whether the paper's order of the arms comes out.
    OUT gets table.md, results.json, figure.png, and a run folder for each run.

    The same command again goes on where the grid stopped, run by run and epoch by epoch; a run
    that failed is tried again. Another grid in the same folder is refused.

    A budget is met by fewer epochs, down to 12, and then by fewer training samples, down to 500:
    a few batches of each kind of run are timed first, and the output says what was shrunk.

    Each data set and seed has a teacher of its own, shared by the arms, or all have the one given
    by --teacher. On a Ray cluster neurokd is installed everywhere, and OUT is a shared folder.

    Exit status 0 whether or not the paper's order comes out, 2 if a run failed.
    """
    from neurokd.reproduce import EXPERIMENTS, Request, reproduce
    from neurokd.reproduce.table import markdown

    if name not in EXPERIMENTS:
        raise UsageError("no such table", expected=", ".join(EXPERIMENTS), found=repr(name))
    if device not in ("cpu", "cuda", "auto"):
        raise UsageError("no such device", expected="cpu, cuda or auto", found=repr(device))
    request = Request(
        data=tuple(part.strip() for part in data.split(",")) if data else (),
        seeds=seeds,
        budget_minutes=_minutes(budget),
        teacher=teacher,
        device=device,
    )
    place = (out or RUNS / name).absolute()
    try:
        pool = _pool(request, ray, workers, threads)
        results = reproduce(EXPERIMENTS[name], request, place, pool, console.message)
    except KeyboardInterrupt:
        console.message("interrupted; the same command goes on from here")
        raise
    if as_json:
        console.result_json({"folder": str(place), **results.to_dict()})
    else:
        console.result(markdown(results).rstrip())
        console.message(f"{place}: table.md, results.json, figure.png")
    for key, failure in results.failures.items():
        console.message(f"neurokd: {key}: {failure.line}")
        if failure.traceback:
            console.message(failure.traceback.rstrip())
    if not results.failures:
        return 0
    return BUG if any(failure.traceback for failure in results.failures.values()) else BAD_INPUT


def _minutes(budget: str) -> float | None:
    if budget == "full":
        return None
    try:
        minutes = float(budget)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise UsageError(
            "this is no budget", where="--budget", expected="minutes, or full", found=repr(budget)
        )
    return minutes


def _pool(request: Request, ray: str | None, workers: int | None, threads: int) -> Pool:
    from neurokd.reproduce.process_pool import ProcessPool

    for option, number in (("--threads", threads), ("--workers", workers)):
        if number is not None and number < 1:
            raise UsageError("at least one is needed", where=option, found=str(number))
    count = workers or max(1, _cores() // threads)
    if ray is None:
        return ProcessPool(count, threads)
    from neurokd.reproduce.ray_pool import RayPool

    return RayPool(ray, count, threads, gpus=1 if request.device == "cuda" else 0)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
