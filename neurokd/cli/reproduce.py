"""`neurokd reproduce`: a table or figure of a paper, from a grid of training runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokd.cli import console
from neurokd.cli.failure import BAD_INPUT, BUG
from neurokd.cli.options import Json
from neurokd.errors import UsageError
from neurokd.run import RUNS

if TYPE_CHECKING:
    from neurokd.reproduce.pool import Failure, Pool

DEFAULT_MINUTES = 30.0


def run(
    name: Annotated[
        str,
        typer.Argument(
            help="ssd-table1 … 5, ssd-fig2 … 7, ckdsnn-ablation, ckdsnn-scaling, ckdsnn-cifar."
        ),
    ],
    budget: Annotated[
        str | None,
        typer.Option(
            help="Minutes that the grid may take here, 30 by default, or full: the recipes as "
            "they are.",
            metavar="MINUTES|full",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="Seeds 0 … N − 1 of each arm; of a stream the first N of the paper's five orders.",
            metavar="N",
        ),
    ] = 3,
    data: Annotated[
        str | None,
        typer.Option(help="Data sets, separated by commas.", metavar="NAME,…"),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="ckdsnn: a trained teacher instead of one for each seed.", metavar="RUN|FILE"
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="ssd: epochs of a task, instead of a budget.", metavar="N"),
    ] = None,
    neurons: Annotated[
        int | None,
        typer.Option(help="ssd: neurons of the hidden layer, not the paper's.", metavar="N"),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="ssd: what `neurokd embed` made of the data set.", metavar="FILE"),
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
    """Train every arm of a table or figure with several seeds, and set it beside the paper's.

    The table has each arm's mean ± standard error over seeds, its gain, paired by seed, the paper's
    number, and whether the paper's order of the arms comes out. OUT gets table.md, results.json,
    figure.png, and a run folder for each run.

    The same command again goes on where the grid stopped, run by run and epoch by epoch; a run
    that failed is tried again. Another grid in the same folder is refused.

    A budget is met by shorter runs: a few batches of each kind of run are timed first, and the
    output says what was shrunk. ckdsnn: fewer epochs, down to 12, and then by fewer training
    samples, down to 500. ssd: fewer epochs of each task, and N_gaba in proportion.

    ckdsnn: each data set and seed has a teacher of its own, shared by the arms, or all have the one
    given by --teacher. ssd: seeds are orders of the classes (as numbered, then shuffled by 3, 15,
    27 and 97); CIFAR is learned as embeddings. --neurons 1000 makes a figure of 10,000 neurons
    possible on a small machine, and n shrinks with them.

    On a Ray cluster neurokd is installed everywhere, and OUT is a shared folder.

    Exit status 0 whether or not the paper's order comes out, 2 if a run failed.
    """
    from neurokd.reproduce import (
        EXPERIMENTS,
        STREAMS,
        Request,
        StreamRequest,
        reproduce,
        reproduce_streams,
    )
    from neurokd.reproduce.stream_table import stream_markdown
    from neurokd.reproduce.table import markdown

    if name not in EXPERIMENTS and name not in STREAMS:
        offered = ", ".join((*EXPERIMENTS, *STREAMS))
        raise UsageError("no such table", expected=offered, found=repr(name))
    if device not in ("cpu", "cuda", "auto"):
        raise UsageError("no such device", expected="cpu, cuda or auto", found=repr(device))
    _refuse_foreign(name in STREAMS, teacher, neurons, embeddings, epochs)
    names = tuple(part.strip() for part in data.split(",")) if data else ()
    minutes = _minutes(budget, epochs)
    place = (out or RUNS / name).absolute()
    content: dict[str, Any]
    failures: Mapping[str, Failure]
    try:
        pool = _pool(device, ray, workers, threads)
        if name in STREAMS:
            asked = StreamRequest(names, seeds, minutes, neurons, embeddings, device, epochs)
            streams = reproduce_streams(STREAMS[name], asked, place, pool, console.message)
            content, table, failures = streams.to_dict(), stream_markdown(streams), streams.failures
        else:
            request = Request(names, seeds, minutes, teacher, device)
            results = reproduce(EXPERIMENTS[name], request, place, pool, console.message)
            content, table, failures = results.to_dict(), markdown(results), results.failures
    except KeyboardInterrupt:
        console.message("interrupted; the same command goes on from here")
        raise
    if as_json:
        console.result_json({"folder": str(place), **content})
    else:
        console.result(table.rstrip())
        console.message(f"{place}: table.md, results.json, figure.png")
    for key, failure in failures.items():
        console.message(f"neurokd: {key}: {failure.line}")
        if failure.traceback:
            console.message(failure.traceback.rstrip())
    if not failures:
        return 0
    return BUG if any(failure.traceback for failure in failures.values()) else BAD_INPUT


def _refuse_foreign(
    stream: bool,
    teacher: Path | None,
    neurons: int | None,
    embeddings: Path | None,
    epochs: int | None,
) -> None:
    """Options of the other paper would be ignored."""
    options = (
        {"--teacher": teacher}
        if stream
        else {"--neurons": neurons, "--embeddings": embeddings, "--epochs": epochs}
    )
    for option, value in options.items():
        if value is not None:
            raise UsageError(
                "this option is for tables of the other paper", where=option, found=str(value)
            )


def _minutes(budget: str | None, epochs: int | None) -> float | None:
    if budget is not None and epochs is not None:
        raise UsageError("the length is given twice", where="--epochs", remedy="drop --budget")
    if epochs is not None or budget == "full":
        return None
    if budget is None:
        return DEFAULT_MINUTES
    try:
        minutes = float(budget)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise UsageError(
            "this is no budget", where="--budget", expected="minutes, or full", found=repr(budget)
        )
    return minutes


def _pool(device: str, ray: str | None, workers: int | None, threads: int) -> Pool:
    from neurokd.reproduce.process_pool import ProcessPool

    for option, number in (("--threads", threads), ("--workers", workers)):
        if number is not None and number < 1:
            raise UsageError("at least one is needed", where=option, found=str(number))
    count = workers or max(1, _cores() // threads)
    if ray is None:
        return ProcessPool(count, threads)
    from neurokd.reproduce.ray_pool import RayPool

    return RayPool(ray, count, threads, gpus=1 if device == "cuda" else 0)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
