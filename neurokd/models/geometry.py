"""Geometry: the checks of what a network is asked to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from neurokd.errors import UsageError

LastActivation = Literal["lif", "relu"]
"""What ends the last stage of a spiking network; behind "relu" nothing can be deployed."""


def require_counts(where: str, **options: int | Sequence[int]) -> None:
    """Raise `UsageError` unless every option is a whole number ≥ 1, or a sequence of such."""
    for name, value in options.items():
        given = list(value) if isinstance(value, Sequence) else [value]
        if not given or any(type(number) is not int or number < 1 for number in given):
            raise UsageError(
                f"{name} is no count", where=where, expected="1 or more", found=f"{name} {value!r}"
            )


def require_per_stage(where: str, **options: Sequence[int]) -> None:
    """Raise `UsageError` unless all have one count for each stage."""
    require_counts(where, **options)
    if len({len(value) for value in options.values()}) != 1:
        raise UsageError(
            "these need one entry per stage",
            where=where,
            found=", ".join(f"{name} {tuple(value)}" for name, value in options.items()),
        )


def require_last_activation(where: str, value: str) -> None:
    """Raise `UsageError` for an activation that is not offered."""
    if value not in ("lif", "relu"):
        raise UsageError(
            "unknown last activation", where=where, expected="'lif' or 'relu'", found=repr(value)
        )
