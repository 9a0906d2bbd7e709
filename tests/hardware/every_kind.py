"""Tiny networks, one for each kind of population, input and projection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)

NONE = np.zeros(2, dtype=np.int32)


def _lif(name: str, *shape: int) -> LIFPopulation:
    return LIFPopulation(name, shape, 4095, 0, 1, np.zeros(shape, dtype=np.int32))


def _dense(source: str, target: str, out: int, into: int, recurrent: bool = False) -> Projection:
    weight = np.full((out, into), 2, dtype=np.int32)
    return DenseProjection(f"{source} {target}", source, target, weight, recurrent=recurrent)


def _network(populations: list[Population], projections: list[Projection]) -> DeployedNetwork:
    output = populations[-1].name
    return DeployedNetwork(tuple(populations), tuple(projections), output, "loihi2", steps=6)


def current() -> DeployedNetwork:
    entrance = CurrentInputPopulation("in", (3,), 0, 10)
    return _network([entrance, _lif("out", 2)], [_dense("in", "out", 2, 3)])


def sparse() -> DeployedNetwork:
    rows, columns, delays = np.array([0, 1, 1]), np.array([0, 0, 2]), np.array([0, 3, 1])
    way = SparseProjection(
        "s", "in", "out", rows, columns, 2 * np.ones(3, dtype=int), delays=delays
    )
    return _network([InputPopulation("in", (3,)), _lif("out", 2)], [way])


def recurrent() -> DeployedNetwork:
    ways = [_dense("in", "a", 2, 3), _dense("a", "a", 2, 2, True), _dense("a", "out", 2, 2)]
    return _network([InputPopulation("in", (3,)), _lif("a", 2), _lif("out", 2)], ways)


def sigma_delta() -> DeployedNetwork:
    entrance = DeltaInputPopulation("in", (3,), 1, bits=8)
    hidden, output = SigmaDeltaPopulation("a", (2,), 1, NONE), SigmaPopulation("out", (2,))
    return _network([entrance, hidden, output], [_dense("in", "a", 2, 3), _dense("a", "out", 2, 2)])


def delta() -> DeployedNetwork:
    entrance = InputPopulation("in", (3,), "graded", 8)
    return _network([entrance, DeltaPopulation("out", (2,), 1)], [_dense("in", "out", 2, 3)])


def convolution() -> DeployedNetwork:
    way = ConvProjection("c", "in", "a", np.full((2, 1, 2, 2), 2, dtype=np.int32))
    entrance = InputPopulation("in", (1, 4, 4))
    return _network(
        [entrance, _lif("a", 2, 3, 3), _lif("out", 2)], [way, _dense("a", "out", 2, 18)]
    )


EVERY_KIND: list[Callable[[], DeployedNetwork]] = [
    current,
    sparse,
    recurrent,
    sigma_delta,
    delta,
    convolution,
]
