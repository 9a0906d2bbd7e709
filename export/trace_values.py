"""What a value of a forward pass stands for while its steps are collapsed into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Signal:
    """What leaves a layer at a step; step None: the same at every step."""

    layer: str
    step: int | None


@dataclass(frozen=True)
class State:
    """A neuron's state after a step."""

    path: str
    name: str
    step: int


@dataclass(frozen=True)
class Given:
    """A state that the caller passes to forward."""

    name: str


@dataclass(frozen=True)
class Recorded:
    """Values of all steps, stacked."""

    values: tuple[Signal | State, ...]


class Rest:
    """A state of zeros."""


class Sequence:
    """The input of all steps, (T, B, *shape)."""


REST = Rest()


def shown(value: Any, operand: Any) -> str:
    """A value as an error message names it."""
    return repr(operand) if value is None else type(value).__name__.lower()
