"""The table in Markdown, with what it shows said in sentences."""

from __future__ import annotations

from neurokd.reproduce.ordering import Ordering, Step
from neurokd.reproduce.results import ArmResult, DataResult, Results
from neurokd.reproduce.statistics import Difference, Mean

_UNKNOWN = "–"
_HEADER = ("arm", "accuracy (%)", "n", "gain (points)", "p", "paper (%)")


def markdown(results: Results) -> str:
    """The whole table, ending in a line feed."""
    experiment = results.experiment
    blocks = [f"# {experiment.title}"]
    labels = {arm.name: arm.label for arm in experiment.arms}
    for data in results.data:
        blocks += [_heading(data), _rows(data), _findings(data, results, labels)]
    baseline = labels[experiment.baseline]
    notes = [
        f"± is one standard error over seeds; gain is on {baseline}, paired by seed, p that of "
        "the paired t test (two-sided). Accuracy is on the test set, after the last epoch.",
        f"The paper's numbers: {experiment.setting}.",
        _budget(results),
        *(f"FAILED {key}: {failure.line}" for key, failure in results.failures.items()),
    ]
    blocks.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(blocks) + "\n"


def spread(mean: Mean | None, *, signed: bool = False) -> str:
    """A mean with its standard error, where there is one."""
    if mean is None:
        return _UNKNOWN
    value = f"{mean.mean:+.2f}" if signed else f"{mean.mean:.2f}"
    return value if mean.standard_error is None else f"{value} ± {mean.standard_error:.2f}"


def _heading(data: DataResult) -> str:
    teacher = data.teacher
    known = f" (teacher {spread(teacher)} %, n = {teacher.n})" if teacher else ""
    return f"## {data.data}{known}"


def _rows(data: DataResult) -> str:
    lines = [_HEADER, tuple("---" for _ in _HEADER), *(_row(row) for row in data.arms)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(row: ArmResult) -> tuple[str, ...]:
    return (
        row.arm.label,
        spread(row.mean),
        str(len(row.percents)),
        spread(row.gain, signed=True) if row.gain else "",
        p_value_said(row.gain),
        "; ".join(
            f"{number.percent:.2f}" + (f" ({number.source})" if len(row.arm.published) > 1 else "")
            for number in row.arm.published
        ),
    )


def p_value_said(difference: Difference | None) -> str:
    """p as a table shows it; nothing where it is unknown."""
    if difference is None or difference.p_value is None:
        return ""
    return f"{difference.p_value:.2g}" if difference.p_value >= 0.001 else "< 0.001"


def _findings(data: DataResult, results: Results, labels: dict[str, str]) -> str:
    proposed = labels[results.experiment.proposed]
    gain = spread(data.gain, signed=True)
    answer = _answer(data.gain.beyond_error if data.gain else None)
    lines = [f"Distillation ({proposed}) helps beyond its error bar: {answer} ({gain} points)."]
    lines += [order_said(ordering, labels) for ordering in data.orderings]
    return "\n".join(f"- {line}" for line in lines)


def order_said(ordering: Ordering, labels: dict[str, str]) -> str:
    """A sentence on an order that the paper claims: whether it holds, link by link."""
    chain = " > ".join(labels[arm] for arm in ordering.arms)
    verdict = {True: "holds", False: "does not hold", None: "unknown"}[ordering.holds]
    if ordering.holds:
        verdict += " beyond the error bars" if ordering.beyond_error else ", within the error bars"
    links = "; ".join(_step(step, labels) for step in ordering.steps)
    return f"The paper's order {chain}: {verdict} ({links})."


def _step(step: Step, labels: dict[str, str]) -> str:
    return f"{labels[step.better]} − {labels[step.worse]} {spread(step.difference, signed=True)}"


def _answer(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown, one seed has no error bar"}[value]


def _budget(results: Results) -> str:
    if results.budget_minutes is None:
        return "Full recipes, no budget."
    allowed = f"Budget {results.budget_minutes:g} minutes"
    if not results.shrunk:
        return f"{allowed}: the full recipes fitted, nothing was shrunk."
    return f"{allowed}, which shrank: {'; '.join(results.shrunk)}."
