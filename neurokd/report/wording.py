"""Wording: numbers with their units, and grades in plain words."""

from __future__ import annotations

from math import floor, log10

from neurokd.report.profiled import Range

GRADES = {
    "measured": "measured on silicon",
    "fitted": "fitted to measurements on silicon",
    "pre-silicon": "simulated by the maker before there was silicon",
    "assumed": "assumed: nobody has published a measurement",
}
ENERGY_UNITS = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))
"""Each unit in picojoules."""
TIME_UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))
"""Each unit in microseconds."""

NO_BREAK = "\u00a0"
"""Keeps a number and its unit on one line."""


def number(value: float) -> str:
    """Three significant digits or all of a whole number, thousands grouped: 0.0123, 1.23, 1,234."""
    if value == round(value):
        return f"{value:,.0f}"
    digits = max(0, 2 - floor(log10(abs(value))))
    return f"{value:,.{digits}f}"


def unit_of(value: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """The largest unit in which the value is at least 1, else the smallest."""
    return next((unit for unit in units if abs(value) >= unit[0]), units[-1])


def energy(range_pj: Range) -> str:
    """``1.23 µJ (0.4 – 5.1)``, in the unit of the nominal value."""
    return _ranged(range_pj, ENERGY_UNITS)


def duration(range_us: Range) -> str:
    """``1.23 ms (0.4 – 5.1)``, in the unit of the nominal value."""
    return _ranged(range_us, TIME_UNITS)


def memory(bits: int) -> str:
    """Bits as KiB, or as bits where there are few."""
    return f"{bits} bits" if bits < 8192 else f"{number(bits / 8192)} KiB"


def percent(fraction: float, digits: int = 2) -> str:
    """``97.40 %``."""
    return f"{100 * fraction:.{digits}f}{NO_BREAK}%"


def points(difference: float) -> str:
    """A difference of accuracies: ``0.30 points lower``."""
    if round(abs(100 * difference), 2) == 0:
        return "equal"
    return f"{abs(100 * difference):.2f} points {'higher' if difference > 0 else 'lower'}"


def signed_points(difference: float) -> str:
    """A difference of accuracies with its sign: ``−0.30``."""
    return "0.00" if points(difference) == "equal" else f"{100 * difference:+.2f}".replace("-", "−")


def grade(name: str) -> str:
    """The grade of a constant in words; one that is not known is shown as it is."""
    return GRADES.get(name, name)


def _ranged(values: Range, units: tuple[tuple[float, str], ...]) -> str:
    scale, name = unit_of(values.nominal, units)
    nominal = f"{number(values.nominal / scale)}{NO_BREAK}{name}"
    if values.low == values.high:
        return nominal
    low, high = number(values.low / scale), number(values.high / scale)
    return f"{nominal} ({low}{NO_BREAK}–{NO_BREAK}{high})"
