"""`Slice`: the box of a population's neurons that one core holds, and how to cut it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Slice:
    """Neurons of one population: ``bounds`` (first, end) along each axis of its shape."""

    population: str
    bounds: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(end - first for first, end in self.bounds)

    @property
    def index(self) -> tuple[slice, ...]:
        """The box as an index into an array of the population's shape."""
        return tuple(slice(first, end) for first, end in self.bounds)

    def __str__(self) -> str:
        box = ", ".join(f"{first}:{end}" for first, end in self.bounds)
        return f"{self.population}[{box}]"


def cut(name: str, shape: tuple[int, ...], tile: tuple[int, ...]) -> tuple[Slice, ...]:
    """All boxes of at most ``tile`` neurons along each axis that cover the population."""
    axes = [
        [(first, min(first + step, size)) for first in range(0, size, step)]
        for size, step in zip(shape, tile, strict=True)
    ]
    return tuple(Slice(name, bounds) for bounds in itertools.product(*axes))


def middle(name: str, shape: tuple[int, ...], tile: tuple[int, ...]) -> Slice:
    """The slice in the middle of those that `cut` makes: no edge spares it a synapse."""
    firsts = [size // 2 // step * step for size, step in zip(shape, tile, strict=True)]
    return Slice(
        name,
        tuple(
            (first, min(first + step, size))
            for first, step, size in zip(firsts, tile, shape, strict=True)
        ),
    )


def tiles(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every box size worth trying, those that make the fewest slices first.

    Along an axis of n neurons only ⌈n / k⌉ is tried for k = 1 … n: any other size makes as many
    slices as the next smaller one of these. Among equal numbers, those that cut the first axis
    (the channels of an image, which share source neurons) least come first.
    """
    axes = [sorted({-(-size // k) for k in range(1, size + 1)}, reverse=True) for size in shape]
    pieces = [
        {tile: -(-size // tile) for tile in axis} for size, axis in zip(shape, axes, strict=True)
    ]

    def order(tile: tuple[int, ...]) -> tuple[int, ...]:
        counts = [pieces[axis][step] for axis, step in enumerate(tile)]
        return (math.prod(counts), *counts)

    yield from sorted(itertools.product(*axes), key=order)
