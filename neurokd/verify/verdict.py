"""`Verdict`: accuracies of one network on its runtimes, and whether each is what was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from neurokd.errors import FileFormatError

TABLE_COLUMNS = (
    "backend",
    "samples",
    "accuracy %",
    "95 % interval",
    "difference (points)",
    "agreement %",
    "verdict",
)
"""The first row of `Verdict.table`."""


@dataclass(frozen=True)
class Row:
    """One runtime on its samples; what compares it with the reference is over the same samples.

    ``agreement``: fraction of samples given the reference's class. ``difference``: accuracy minus
    the reference's. ``p_value``: exact McNemar. All three are None for the reference itself.
    ``holds`` is None where nothing is asked of the row.
    """

    backend: str
    samples: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    agreement: float | None
    difference: float | None
    p_value: float | None
    criterion: str
    holds: bool | None


@dataclass(frozen=True)
class Divergence:
    """The first value, in chip time and then topological order, in which two runtimes differ.

    ``step`` is the chip step, counted from 1; ``neuron`` the index in the population's shape.
    """

    population: str
    variable: str
    step: int
    sample: int
    neuron: tuple[int, ...]
    expected: int
    found: int


@dataclass(frozen=True)
class Identity:
    """Step by step comparison of two runtimes over all recorded variables."""

    backend: str
    against: str
    samples: int
    variables: tuple[str, ...]
    populations: tuple[str, ...]
    compared: int
    identical: bool
    first_divergence: Divergence | None


@dataclass(frozen=True)
class Verdict:
    """The rows of all runtimes, the reference first, and the identity of Lava if it was run."""

    tolerance: float
    samples: int
    reference: str
    rows: tuple[Row, ...]
    identity: Identity | None = None

    @property
    def holds(self) -> bool:
        """True if every row of which something is asked holds."""
        return all(row.holds for row in self.rows if row.holds is not None)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON."""
        values = asdict(self)
        return {"holds": self.holds, **{key: _listed(value) for key, value in values.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "verdict") -> Verdict:
        """The verdict that `to_dict` wrote; `FileFormatError` for anything else."""
        from pydantic import TypeAdapter, ValidationError

        try:
            verdict = TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            problem = error.errors()[0]
            raise FileFormatError(
                "this is not a verdict",
                where=where,
                found=f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}",
            ) from error
        if values.get("holds") is not verdict.holds:
            raise FileFormatError(
                "the verdict contradicts its own rows",
                where=where,
                expected=f"holds: {str(verdict.holds).lower()}",
                found=repr(values.get("holds")),
            )
        return verdict

    def table(self) -> list[list[str]]:
        """The verdict as texts: `TABLE_COLUMNS` first, then one list a row."""
        return [list(TABLE_COLUMNS), *(_cells(row) for row in self.rows)]


def _cells(row: Row) -> list[str]:
    low, high = row.interval
    return [
        row.backend,
        str(row.samples),
        f"{100 * row.accuracy:.2f}",
        f"{100 * low:.2f} – {100 * high:.2f}",
        "" if row.difference is None else f"{100 * row.difference:+.2f}",
        "" if row.agreement is None else f"{100 * row.agreement:.2f}",
        row.criterion if row.holds is None else "holds" if row.holds else "does not hold",
    ]


def _listed(value: Any) -> Any:
    """Tuples as lists, so that the dictionary equals what JSON gives back."""
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_listed(inner) for inner in value]
    return value
