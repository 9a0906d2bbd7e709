"""`neurokd continual`: a learner on a stream of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurokd.cli import console
from neurokd.cli.options import Json
from neurokd.cli.run_place import place
from neurokd.config import read_continual_config

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

    With a [spiking] section, a spiking student with winners by inhibition is then trained and
    deployed after each task, into RUN/spiking.
    """
    resolved = read_continual_config(config, overrides or ())
    folder = place(Path(config).stem, out, resume)
    from neurokd.continual.learn import learn

    begun = resume and folder.checkpoint.is_file()
    with console.steps("stream") as tell:
        summary = learn(resolved, folder, resume=begun, progress=tell)
    deployment = None
    if resolved.spiking is not None:
        from neurokd.continual.spiking.stream import spike_stream

        with console.steps("spiking student") as tell:
            deployment = spike_stream(folder, resolved, tell, resume=begun)
    answer: dict[str, Any] = {"run": str(folder.path), **summary}
    if deployment is not None:
        answer["deployment"] = deployment
    if as_json:
        console.result_json(answer)
    else:
        console.result(_table(summary))
        console.result(_said(str(folder.path), summary))
        if deployment is not None:
            console.result(_deployed(deployment))
            console.message(f"{folder.path / 'spiking'}: deployment.json, deployment.png")
    return 0


def _table(summary: dict[str, Any]) -> str:
    """The matrix of accuracies in per cent: a row for each task that was learned."""
    tasks = summary["tasks"]
    names = [",".join(map(str, classes)) if len(classes) < 5 else f"{len(classes)} classes"
             for classes in tasks]  # fmt: skip
    rows = [
        (f"after {i + 1}", *(f"{100 * a:.1f}" if j <= i else "–" for j, a in enumerate(row)))
        for i, row in enumerate(summary["matrix"])
    ]
    return console.table(rows, ("test accuracy %", *names))


def _said(place: str, summary: dict[str, Any]) -> str:
    words = f"{place}: Val.Acc {summary['val_acc']:.2%}"
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
