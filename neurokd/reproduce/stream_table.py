"""The table of a stream experiment in Markdown, beside the paper's numbers."""

from __future__ import annotations

from neurokd.reproduce.statistics import Mean
from neurokd.reproduce.stream_experiment import Quantity, StreamExperiment
from neurokd.reproduce.stream_grid import ORDERS
from neurokd.reproduce.stream_results import (
    Measured,
    StreamArmResult,
    StreamDataResult,
    StreamResults,
)
from neurokd.reproduce.table import order_said, p_value_said

_UNKNOWN = "–"


def stream_markdown(results: StreamResults) -> str:
    """The whole table, ending in a line feed."""
    experiment = results.experiment
    blocks = [f"# {experiment.title} ({results.neurons:,} neurons)"]
    for data in results.data:
        blocks += [f"## {data.data}", _rows(data, experiment)]
        findings = _findings(data, results)
        if findings:
            blocks.append("\n".join(f"- {line}" for line in findings))
    orders = ", ".join(str(order) for order in ORDERS[: results.seeds])
    notes = [
        f"{_over(results.seeds)} of the classes ({orders}). All "
        "accuracies are on test samples after the last epoch, among all classes, without a task "
        "label; Val.Acc is the paper's name for it.",
        f"The paper's numbers: {experiment.setting}.",
        *(
            f"{data.data}: {note}."
            for data in results.data
            if (note := experiment.bases[data.data].note)
        ),
        _budget(results),
        *(f"FAILED {key}: {failure.line}" for key, failure in results.failures.items()),
    ]
    blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def _over(orders: int) -> str:
    return f"± is one standard error over {orders} orders" if orders > 1 else "One order"


def shown(value: float, quantity: Quantity, *, signed: bool = False) -> str:
    """A number as its unit has it: two digits behind the point, three significant ones of bits."""
    if quantity.scale == 100:
        return f"{value:+.2f}" if signed else f"{value:.2f}"
    return f"{value:+.3g}" if signed else f"{value:.3g}"


def _rows(data: StreamDataResult, experiment: StreamExperiment) -> str:
    head = ["arm"]
    for quantity in experiment.quantities:
        head.append(quantity.label)
        if _is_published(data, quantity):
            head += ["paper", "ours − paper"]
    head.append("n")
    if experiment.baseline is not None:
        head += ["gain", "p"]
    lines = [head, ["---" for _ in head]]
    lines += [_row(row, data, experiment) for row in data.arms]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(row: StreamArmResult, data: StreamDataResult, experiment: StreamExperiment) -> list[str]:
    cells = [row.arm.label]
    for measured in row.measured:
        quantity = measured.quantity
        cells.append(_spread(measured.mean, quantity))
        if _is_published(data, quantity):
            cells += [_paper(measured), _difference(measured)]
    cells.append(str(len(row.main.values)))
    if experiment.baseline is not None:
        gain = _spread(row.gain, row.main.quantity, signed=True) if row.gain else ""
        cells += [gain, p_value_said(row.gain)]
    return cells


def _is_published(data: StreamDataResult, quantity: Quantity) -> bool:
    return any(
        each.published is not None
        for row in data.arms
        for each in row.measured
        if each.quantity == quantity
    )


def _spread(mean: Mean | None, quantity: Quantity, *, signed: bool = False) -> str:
    if mean is None:
        return _UNKNOWN
    value = shown(mean.mean, quantity, signed=signed)
    if mean.standard_error is None:
        return value
    return f"{value} ± {shown(mean.standard_error, quantity)}"


def _paper(measured: Measured) -> str:
    if measured.published is None:
        return ""
    bound = f"{measured.quantity.bound} " if measured.quantity.bound else ""
    return bound + shown(measured.published, measured.quantity)


def _difference(measured: Measured) -> str:
    if measured.difference is None:
        return ""
    return shown(measured.difference, measured.quantity, signed=True)


def _findings(data: StreamDataResult, results: StreamResults) -> list[str]:
    experiment = results.experiment
    labels = {arm.name: arm.label for arm in experiment.arms}
    lines = []
    gain = next((row.gain for row in data.arms if row.arm.name == experiment.proposed), None)
    if experiment.baseline is not None and experiment.proposed is not None:
        main = experiment.quantities[0]
        answer = {True: "yes", False: "no", None: "unknown, one order has no error bar"}[
            gain.beyond_error if gain else None
        ]
        lines.append(
            f"{labels[experiment.proposed]} is better than {labels[experiment.baseline]} in "
            f"{main.label.partition(' (')[0]} beyond its error bar: {answer} "
            f"({_spread(gain, main, signed=True)})."
        )
    if data.ordering is not None:
        lines.append(order_said(data.ordering, labels))
    return lines


def _budget(results: StreamResults) -> str:
    if results.budget_minutes is None:
        said = "No budget"
    else:
        said = f"Budget {results.budget_minutes:g} minutes"
    if not results.changes:
        return f"{said}: full length, nothing was shrunk."
    return f"{said}. Unlike the full setting: {'; '.join(results.changes)}."
