"""A run of the float network: what each population sends, and how far it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from neurokd.export.float_network import FloatNetwork, FloatPopulation, FloatProjection
from neurokd.export.linear_maps import Floats

DEPTH_QUANTILE = 0.999


class Peak(NamedTuple):
    """How far a population went: the largest |u|, and how far below 0 its v fell.

    ``membrane`` is the depth that all but 0.1 % of v keep within, in the worst step. v saturates
    and does not wrap: above, it fires as it should; below, a neuron that far down recovers sooner.
    """

    current: float
    membrane: float


def run_float(network: FloatNetwork, x: Floats) -> tuple[dict[str, Floats], dict[str, Peak]]:
    """What every population sends, and its peaks; only the model's own lags take time.

    Shapes: x (T, B, *shape) → records (T, B, *shape).
    """
    records: dict[str, Floats] = {}
    peaks: dict[str, Peak] = {}
    for group in _groups(network):
        if group[0].kind == "input":
            records[group[0].name] = x
            continue
        states = [_State(network, p, group, records, x.shape[:2]) for p in group]
        for state in states:
            records[state.population.name] = state.output
        for t in range(len(x)):
            for state in states:
                state.step(t, records)
        for state in states:
            peaks[state.population.name] = Peak(state.current, state.membrane)
    return records, peaks


class _State:
    """One population on its way through time."""

    def __init__(
        self,
        network: FloatNetwork,
        population: FloatPopulation,
        group: Sequence[FloatPopulation],
        records: dict[str, Floats],
        leading: tuple[int, ...],
    ) -> None:
        self.population = population
        self.output = np.zeros((*leading, *population.shape))
        self.u, self.v = np.zeros_like(self.output[0]), np.zeros_like(self.output[0])
        self.current = self.membrane = 0.0
        inside = {p.name for p in group} if len(group) > 1 else set()
        inside |= {p.source for p in network.incoming(population.name) if p.source == p.target}
        parts = [part for p in network.incoming(population.name) for part in p.by_lag()]
        self.loops = [part for part in parts if part[1].source in inside]
        self.arriving = np.zeros_like(self.output)
        for lag, projection in parts:
            if projection.source not in inside:
                self._add(lag, projection, records[projection.source])

    def _add(self, lag: int, projection: FloatProjection, messages: Floats) -> None:
        if lag >= len(self.arriving):
            return
        if messages.strides[0] == 0:
            # the same at every step, as static samples are: once is enough
            messages = messages[:1]
        merged = messages.reshape(-1, *messages.shape[2:])
        current = projection.currents(merged, self.population.shape)
        current = current.reshape(*messages.shape[:2], *self.population.shape)
        later = self.arriving[lag:]
        later += current[: len(later)]

    def step(self, t: int, records: dict[str, Floats]) -> None:
        population = self.population
        a = self.arriving[t]
        for lag, projection in self.loops:
            if t >= lag:
                a = a + projection.currents(records[projection.source][t - lag], population.shape)
        self.u = population.keep * self.u + a
        self.v = population.beta * self.v + self.u + population.bias
        self.current = max(self.current, float(np.abs(self.u).max(initial=0.0)))
        self.membrane = _deeper(self.membrane, self.v)
        self.output[t] = self.v
        if population.kind == "spiking":
            self.output[t] = self.v > population.threshold
            self.v = np.where(self.v > population.threshold, 0.0, self.v)


def _deeper(known: float, v: Floats) -> float:
    """The depth below 0 that the quantile of these v keeps within, if that is more than known."""
    beyond = v.size - int(DEPTH_QUANTILE * (v.size - 1))
    # all but the few that are deeper need no sorting
    deep = -v[v < -known]
    if len(deep) < beyond:
        return known
    return float(np.partition(deep, len(deep) - beyond)[len(deep) - beyond])


def _groups(network: FloatNetwork) -> list[list[FloatPopulation]]:
    """Populations in order; those from the start of a loop to its end are one group."""
    place = {p.name: i for i, p in enumerate(network.populations)}
    reach = list(range(len(place)))
    for projection in network.projections:
        start, end = place[projection.target], place[projection.source]
        reach[start] = max(reach[start], end)
    groups: list[list[FloatPopulation]] = []
    last = -1
    for i, population in enumerate(network.populations):
        if i > last:
            groups.append([])
        groups[-1].append(population)
        last = max(last, reach[i])
    return groups


def multiplications(network: FloatNetwork) -> float:
    """Multiplications that one sample costs in one step."""
    total = 0.0
    for projection in network.projections:
        target = network.population(projection.target)
        positions = 1.0 if projection.geometry is None else float(np.prod(target.shape[1:]))
        total += positions * projection.weight.size
    return total
