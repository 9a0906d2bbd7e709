"""`ChipSpec`: the constants of a chip, each with unit, source, conditions and a grade."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from neurokd.errors import CapacityError, FileFormatError, UsageError
from neurokd.hardware.band import Band

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GRADES = ("measured", "fitted", "pre-silicon", "assumed")
"""How a constant came to be known, best first."""
EVIDENCE = ("P", "T", "S", "M")
"""Where it was read: primary data, a quoting transcription, a secondary source, from memory."""

_FOLDER = Path(__file__).parent / "chips"
_TEXTS = ("unit", "source", "conditions", "grade", "evidence")


@dataclass(frozen=True)
class Constant:
    """One number of a chip and what is known about it.

    ``conditions``: under which it holds, or how it was derived. ``grade`` is one of `GRADES`,
    ``evidence`` one of `EVIDENCE`.
    """

    name: str
    band: Band
    unit: str
    source: str
    conditions: str
    grade: str
    evidence: str

    @property
    def value(self) -> float:
        """The number, where there is exactly one; `UsageError` for a band."""
        if self.band.low != self.band.high:
            raise UsageError(
                "this constant is known only as a band",
                where=f"chip constant {self.name!r}",
                found=f"{self.band.low:g} … {self.band.high:g} {self.unit}",
            )
        return self.band.nominal


@dataclass(frozen=True)
class ChipSpec:
    """A chip's constants by name; a name that the chip's file lacks is an error, never a default.

    Raises: `UsageError` (unknown chip or constant), `FileFormatError` (a file that is not one).
    """

    name: str
    title: str
    constants: Mapping[str, Constant]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The chips that come with neurokd."""
        return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))

    @classmethod
    def load(cls, chip: str | Path) -> ChipSpec:
        """A chip by name ("loihi1", "loihi2"), or by the path of a TOML file of the same form."""
        chip = str(chip)
        path = Path(chip) if chip.endswith(".toml") else _FOLDER / f"{chip}.toml"
        if not chip.endswith(".toml") and chip not in cls.names():
            raise UsageError(
                "no such chip",
                where="chip",
                expected=", ".join(cls.names()) + " or a .toml file",
                found=repr(chip),
            )
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise FileFormatError(
                "this is not a readable TOML file", where=str(path), found=str(error)
            ) from error
        return _parse(content, str(path))

    def __getitem__(self, name: str) -> Constant:
        if name not in self.constants:
            raise UsageError(
                f"{self.name} has no constant of this name",
                where="chip",
                expected=", ".join(sorted(self.constants)),
                found=repr(name),
                remedy="a number that is not known is not guessed; add it to the chip's TOML file",
            )
        return self.constants[name]

    def band(self, name: str) -> Band:
        """Low, nominal and high of a constant."""
        return self[name].band

    def integer(self, name: str) -> int:
        """A constant that counts something."""
        value = self[name].value
        if value != int(value):
            raise UsageError(
                "this constant is no whole number",
                where=f"chip constant {name!r}",
                found=f"{value:g}",
            )
        return int(value)

    def weakest_grade(self, names: Iterable[str]) -> str:
        """The worst grade among constants: what a number computed from them deserves."""
        return max((self[name].grade for name in names), key=GRADES.index, default=GRADES[0])


def _parse(content: dict[str, Any], where: str) -> ChipSpec:
    _require_keys(content, {"name", "title", "constants"}, where)
    for key in ("name", "title"):
        _require_text(content[key], f"{where}: {key}")
    if not isinstance(content["constants"], dict):
        raise FileFormatError("constants is not a table", where=where)
    constants = {
        name: _parse_constant(name, table, f"{where}: constants.{name}")
        for name, table in content["constants"].items()
    }
    return ChipSpec(content["name"], content["title"], constants)


def _parse_constant(name: str, table: Any, where: str) -> Constant:
    if not isinstance(table, dict):
        raise FileFormatError("a constant is a table", where=where, found=repr(table))
    numbers = ("value",) if "value" in table else tuple(entry.name for entry in fields(Band))
    _require_keys(table, {*numbers, *_TEXTS}, where)
    for key in _TEXTS:
        _require_text(table[key], f"{where}.{key}")
    for key, allowed in (("grade", GRADES), ("evidence", EVIDENCE)):
        if table[key] not in allowed:
            raise FileFormatError(
                f"unknown {key}",
                where=where,
                expected=" | ".join(allowed),
                found=repr(table[key]),
            )
    for key in numbers:
        value = table[key]
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise FileFormatError("not a number", where=f"{where}.{key}", found=repr(value))
    try:
        band = (
            Band.exact(table["value"]) if "value" in table else Band(*(table[k] for k in numbers))
        )
    except CapacityError as error:
        raise FileFormatError(
            error.what, where=where, expected=error.expected, found=error.found
        ) from error
    return Constant(name, band, **{key: table[key] for key in _TEXTS})


def _require_keys(table: dict[str, Any], expected: set[str], where: str) -> None:
    if set(table) != expected:
        missing, unknown = sorted(expected - set(table)), sorted(set(table) - expected)
        raise FileFormatError(
            "a chip file has exactly its keys",
            where=where,
            expected=", ".join(sorted(expected)),
            found=f"missing {missing}, unknown {unknown}",
        )


def _require_text(value: Any, where: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise FileFormatError("this is not a text", where=where, found=repr(value))
