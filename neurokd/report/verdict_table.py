"""The verdict in words: a table row and a reason for each runtime."""

from __future__ import annotations

from dataclasses import dataclass

from neurokd.report.wording import percent, points, signed_points
from neurokd.verify.verdict import Identity, Row, Verdict

NAMES = {
    "student": "student (float)",
    "network": "network (float)",
    "emulator": "emulator (integer)",
    "lava": "Lava (integer)",
    "onnx": "ONNX Runtime",
}
CHANCE = 0.05
"""p-value above which a difference is said to be within chance."""


@dataclass(frozen=True)
class Line:
    """One row as it is shown; ``holds`` is None for the reference."""

    name: str
    samples: str
    accuracy: str
    interval: str
    difference: str
    agreement: str
    holds: bool | None
    reason: str


def headline(verdict: Verdict) -> str:
    """What the verdict says as a whole."""
    judged = [row for row in verdict.rows if row.holds is not None]
    failed = [_name(row.backend) for row in judged if not row.holds]
    if not failed:
        return f"The verdict holds: all {len(judged)} checked runtimes meet their criterion."
    return f"The verdict does not hold: {', '.join(failed)}."


def lines(verdict: Verdict) -> list[Line]:
    """The rows as they are shown, each with its reason."""
    return [_line(row, verdict) for row in verdict.rows]


def _line(row: Row, verdict: Verdict) -> Line:
    return Line(
        name=_name(row.backend),
        samples=f"{row.samples:,}",
        accuracy=percent(row.accuracy),
        interval=f"{100 * row.interval[0]:.2f} – {100 * row.interval[1]:.2f}",
        difference="" if row.difference is None else signed_points(row.difference),
        agreement="" if row.agreement is None else percent(row.agreement),
        holds=row.holds,
        reason=_reason(row, verdict),
    )


def _reason(row: Row, verdict: Verdict) -> str:
    if row.difference is None:
        return f"{row.correct:,} of {row.samples:,} right; the others are measured against it."
    if row.backend == "lava" and verdict.identity is not None:
        return _identity(verdict.identity)
    reference = _name(verdict.reference)
    limit = f"{100 * verdict.tolerance:g} points"
    same = points(row.difference) == "equal"
    said = "equal to" if same else f"{points(row.difference)} than"
    text = (
        f"{said[0].upper()}{said[1:]} the {reference} on the same samples; "
        f"{'within' if row.holds else 'outside'} the tolerance of {limit}."
    )
    if row.p_value is not None and not same:
        chance = (
            "Chance alone can give such a difference"
            if row.p_value > CHANCE
            else "Chance alone would seldom give such a difference"
        )
        text += f" {chance} (McNemar p = {row.p_value:.2g})."
    return text


def _identity(identity: Identity) -> str:
    what = (
        f"{', '.join(identity.variables)} of {len(identity.populations)} layers at every step "
        f"of {identity.samples:,} samples"
    )
    if identity.identical:
        return (
            f"Identical to the {identity.against}: all {identity.compared:,} integers compared "
            f"({what}) are equal."
        )
    first = identity.first_divergence
    if first is None:
        return f"Not identical to the {identity.against} ({what})."
    return (
        f"Not identical to the {identity.against}. First difference: {first.variable} of "
        f"{first.population} at chip step {first.step}, sample {first.sample}, neuron "
        f"{list(first.neuron)}: expected {first.expected}, found {first.found}."
    )


def _name(backend: str) -> str:
    return NAMES.get(backend, backend)
