"""The page of a run that learned a stream of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurokd.config import ContinualConfig
from neurokd.report.facts import flat, versions
from neurokd.report.figure import Picture, style
from neurokd.report.stream_figures import (
    deployment_figure,
    fate_figure,
    loss_figure,
    matrix_figure,
)
from neurokd.report.stream_inputs import Deployment, StreamInputs, Summary, read_stream
from neurokd.report.verdict_table import headline, lines
from neurokd.report.wording import energy, number, percent
from neurokd.run import is_deployable

TEMPLATE = "stream.html.j2"


def stream_context(folder: Path) -> dict[str, Any]:
    """Everything that the template shows of a run folder; what is missing is named there.

    Raises: `FileFormatError` for a part that is broken.
    """
    inputs = read_stream(folder)
    with style():
        pictures = _pictures(inputs)
    return {
        "name": folder.resolve().name,
        "facts": _facts(inputs.config),
        "settings": flat(inputs.config.model_dump(mode="json", exclude_none=True)),
        "figures": _figures(inputs.summary) if inputs.summary else [],
        "pictures": pictures,
        "deployed": _deployed(inputs.deployment) if inputs.deployment else [],
        "deployment_picture": _deployment_picture(inputs),
        "verdicts": [
            {"title": title, "holds": each.holds, "headline": headline(each), "lines": lines(each)}
            for title, each in inputs.verdicts.items()
        ],
        "missing": _missing(inputs),
    }


def _pictures(inputs: StreamInputs) -> list[Picture]:
    summary = inputs.summary
    found: list[Picture] = []
    if summary is not None and len(summary.tasks) > 1:
        found = [matrix_figure(summary), fate_figure(summary, inputs.lines)]
    loss = loss_figure(inputs.lines)
    return [*found, loss] if loss else found


def _deployment_picture(inputs: StreamInputs) -> Picture | None:
    if inputs.deployment is None:
        return None
    with style():
        return deployment_figure(inputs.deployment_json)


def _facts(config: ContinualConfig) -> list[tuple[str, str]]:
    network, learning = config.network, config.learning
    sizes = ", ".join(map(str, network.sizes or ()))
    order = "as numbered" if config.order == "ordinal" else f"shuffled by seed {config.order}"
    given = [
        ("network", f"{network.name}, {sizes} neurons" if sizes else network.name),
        ("winners", None if network.k is None else str(network.k)),
        ("methods", ", ".join(config.methods) or "none"),
        ("data", config.data + (f", embedded by {config.embedding}" if config.embedding else "")),
        ("stream", "all classes at once" if config.joint else f"{config.per_task} classes a task"),
        ("classes", order),
        ("budget", f"{learning.epochs} epochs a task"),
        ("seed", str(config.seed)),
        *versions(),
    ]
    return [(label, value) for label, value in given if value is not None]


def _figures(summary: Summary) -> list[tuple[str, str, str]]:
    """(name, value, what it is)."""

    def points(value: float | None) -> str:
        return "needs two tasks" if value is None else f"{100 * value:+.2f} points"

    return [
        ("Val.Acc", percent(summary.val_acc), "accuracy on what was seen × part of tasks seen"),
        ("average accuracy", percent(summary.average_accuracy), "mean over the tasks, at the end"),
        ("BWT", points(summary.bwt), "what later tasks did to earlier ones; higher is better"),
        ("forgetting", points(summary.forgetting), "from the best accuracy to the last"),
        ("forward transfer", points(summary.forward_transfer), "on tasks not yet learned"),
    ]


def _deployed(deployment: Deployment) -> list[tuple[str, ...]]:
    """A row for each task: accuracies, winners, operations and energy of a sample."""

    def mean(values: tuple[float, ...]) -> str:
        return percent(sum(values) / len(values), 1)

    return [
        (
            str(row.task + 1),
            mean(row.float_accuracies),
            mean(row.student),
            mean(row.deployed),
            f"{row.mean_winners:.2f}",
            number(round(row.cost.synaptic_operations)),
            number(row.cost.dense_operations),
            energy(row.cost.energy_pj),
        )
        for row in deployment.rows
    ]


def _missing(inputs: StreamInputs) -> dict[str, str]:
    """The command that makes each part that is not there."""
    spiking = inputs.config.spiking is not None
    commands = {}
    if inputs.summary is None:
        commands["summary"] = "neurokd continual CONFIG --out RUN --resume"
    if spiking and inputs.deployment is None:
        commands["deployment"] = "neurokd continual CONFIG --out RUN --resume"
    if is_deployable(inputs.config) and not inputs.verdicts:
        commands["verdict"] = "neurokd verify RUN"
    return commands
