"""`neurokd continual`: a learner on a stream of tasks, or on several orders of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokd.cli import console
from neurokd.cli.options import Json
from neurokd.cli.run_place import place
from neurokd.config import ContinualConfig, read_continual_config
from neurokd.errors import UsageError
from neurokd.run import RUNS, RunFolder

if TYPE_CHECKING:
    from neurokd.continual.learn import Job

NETWORKS = ("float", "student", "deployed")
"""Whose accuracies stand beside each other where a stream is deployed."""


def run(
    config: Annotated[str, typer.Argument(help="A preset's name or a TOML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override a value; `neurokd presets CONFIG` prints all keys.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    orders: Annotated[
        str | None,
        typer.Option(
            help="Several orders of the classes, learned together: ordinal,3,15,27,97.",
            metavar="ORDER,…",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder, else runs/CONFIG.", metavar="RUN")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    as_json: Json = False,
) -> int:
    """Learn a stream of tasks, one after another, each from its own samples alone.

    The classes of the data set are cut into tasks; no task is named at test time. RUN gets the
    matrix of accuracies and what follows from it in continual.json, a row for each epoch in
    metrics.jsonl, and the network after each task in tasks/.

    With --orders, each order has a run of its own (RUN/order-3), and means with standard errors are
    printed; the sparse engine takes their steps together. The bits are those of each alone.

    With a [spiking] section, a spiking student with winners by inhibition is then trained and
    deployed after each task, into RUN/spiking.
    """
    resolved = read_continual_config(config, overrides or ())
    from neurokd.continual.learn import Job, learn_together

    if orders is None:
        folder = place(Path(config).stem, out, resume)
        jobs = [Job(resolved, folder, resume and folder.checkpoint.is_file())]
    else:
        parent = out or RUNS / Path(config).stem
        jobs = [_job(resolved, parent, order, resume) for order in _orders(orders)]
    with console.steps("stream") as tell:
        summaries = learn_together(jobs, tell)
    answers = []
    for job, summary in zip(jobs, summaries, strict=True):
        answer: dict[str, Any] = {"run": str(job.folder.path), "order": job.config.order}
        answers.append({**answer, **summary, **_spiking(job)})
    if as_json:
        whole = {"runs": answers, **_means(answers)}
        console.result_json(whole if orders is not None else answers[0])
        return 0
    for answer in answers:
        console.result(_table(answer))
        console.result(_said(answer))
        if "deployment" in answer:
            console.result(_deployed(answer["deployment"]))
            console.message(f"{answer['run']}/spiking: deployment.json, deployment.png")
    if orders is not None:
        console.result(_said_of_all(answers))
    return 0


def _orders(text: str) -> list[str | int]:
    """Orders of the option, each once."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word != "ordinal" and not word.isdecimal():
            raise UsageError(
                "this is no order of the classes",
                where="--orders",
                expected="ordinal or a seed, as in ordinal,3,15",
                found=repr(word),
            )
    return [word if word == "ordinal" else int(word) for word in dict.fromkeys(words)]


def _job(config: ContinualConfig, parent: Path, order: str | int, resume: bool) -> Job:
    """The run of an order; with ``resume``, one that has not begun begins."""
    from neurokd.continual.learn import Job

    path = parent / f"order-{order}"
    begun = resume and RunFolder(path).checkpoint.is_file()
    ordered = config.model_copy(update={"order": order})
    return Job(ordered, place(path.name, path, begun), begun)


def _spiking(job: Job) -> dict[str, Any]:
    """The deployed stream, where the configuration asks for one."""
    if job.config.spiking is None:
        return {}
    from neurokd.continual.spiking.stream import spike_stream

    with console.steps("spiking student") as tell:
        return {"deployment": spike_stream(job.folder, job.config, tell, resume=job.resume)}


def _means(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over the orders; BWT needs two tasks."""
    from dataclasses import asdict

    from neurokd.reproduce.statistics import mean_of

    found = {}
    for key in ("val_acc", "bwt"):
        values = [answer[key] for answer in answers if answer[key] is not None]
        found[key] = asdict(mean_of(values)) if values else None
    return found


def _said_of_all(answers: Sequence[dict[str, Any]]) -> str:
    parts = []
    for key, name in (("val_acc", "Val.Acc"), ("bwt", "BWT")):
        mean = _means(answers)[key]
        if mean is not None:
            error = mean["standard_error"]
            spread = "" if error is None else f" ± {100 * error:.2f}"
            parts.append(f"{name} {100 * mean['mean']:.2f}{spread}")
    return f"{len(answers)} orders, in points: {', '.join(parts)}"


def _table(summary: dict[str, Any]) -> str:
    """The matrix of accuracies in per cent: a row for each task that was learned."""
    names = [
        ",".join(map(str, classes)) if len(classes) < 5 else f"{len(classes)} classes"
        for classes in summary["tasks"]
    ]
    rows = [
        (f"after {i + 1}", *(f"{100 * a:.1f}" if j <= i else "–" for j, a in enumerate(row)))
        for i, row in enumerate(summary["matrix"])
    ]
    return console.table(rows, ("test accuracy %", *names))


def _said(summary: dict[str, Any]) -> str:
    words = f"{summary['run']}: Val.Acc {summary['val_acc']:.2%}"
    if summary["bwt"] is not None:
        words += f", BWT {100 * summary['bwt']:+.2f} points"
        words += f", forgetting {100 * summary['forgetting']:.2f} points"
    return words


def _deployed(deployment: dict[str, Any]) -> str:
    """The networks side by side, and what a sample costs on the chip, after each task."""
    rows = [
        (
            f"after {row['task'] + 1}",
            *(f"{100 * sum(row[name]) / len(row[name]):.1f}" for name in NETWORKS),
            f"{row['mean_winners']:.1f}",
            f"{row['cost']['synaptic_operations']:,.0f}",
            f"{row['cost']['dense_operations']:,}",
            console.significant(row["cost"]["energy_pj"]["nominal"] / 1e6),
        )
        for row in deployment["rows"]
    ]
    headers = ("seen tasks %", *NETWORKS, "winners", "synops", "dense MLP's", "energy µJ")
    return console.table(rows, headers)
