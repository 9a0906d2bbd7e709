"""Pass: the nodes between two populations become one projection, exactly, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurokd.export.compose_chain import Synapses, compose_chain, linear, listed
from neurokd.export.constant_drive import constant_drive
from neurokd.export.float_network import (
    FloatNetwork,
    FloatPopulation,
    FloatProjection,
    Shape,
    Steps,
)
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering, refuse
from neurokd.export.nir_structure import predecessors
from neurokd.export.simulate_nir import delay_steps
from neurokd.export.simulate_schedule import check_loops, feedback_edges, order
from neurokd.hardware.weight_format import MAX_DELAY

Chain = tuple[str, ...]


def compose_linear(state: Lowering) -> Lowering:
    """Chains of linear nodes as projections; their biases as biases of the target.

    The forms are those of `compose_chain`; the neurons' gain is folded in. A bias in front of a
    filtering synapse becomes a `constant_drive`. A Delay, and an edge
    that closes a loop, become the projection's lag, as `simulate_nir` reads them.

    Raises: `UnsupportedNodeError`; `UsageError` for a delay that is no whole number of steps.
    """
    walk = _Walk(state)
    shapes = {p.name: p.shape for p in state.populations}
    populations: list[FloatPopulation] = []
    projections: list[FloatProjection] = []
    for population in state.populations:
        if population.gain is not None:
            bias = walk.bias(population) * population.gain
            filtered = population.keep if population.decays is None else population.decays[0]
            if np.any(bias) and np.any(filtered):
                neuron, joined = constant_drive(population, bias, _first(walk, state))
                populations.append(neuron)
                projections.extend(joined)
                bias = np.zeros_like(bias)
            for source, chain, lag in walk.chains(population.name):
                taken = {p.name for p in projections}
                projections.append(_projection(walk, source, chain, lag, population, shapes, taken))
            population = replace(population, bias=population.bias + bias, gain=None)
        populations.append(population)
    output = next(n for n, node in state.graph.nodes.items() if isinstance(node, nir.Output))
    network = _ordered(populations, projections, walk.sources[output][0])
    return replace(state, network=network)


def _first(walk: _Walk, state: Lowering) -> str:
    """The population that stands at the input of the chip."""
    entrance = state.options.input.name
    if not state.options.by_current:
        return entrance
    readers = (p.name for p in state.populations if p.gain is not None)
    return next(n for n in readers if any(s == entrance for s, _, _ in walk.chains(n)))


class _Walk:
    """The graph between the populations, with the time that its edges and Delays take."""

    def __init__(self, state: Lowering) -> None:
        self.nodes = state.graph.nodes
        self.names = {p.name: p for p in state.populations}
        self.sources = predecessors(state.graph)
        self.delays: dict[str, Steps] = {
            name: delay_steps(name, node, state.options.dt, 1 << 20)
            for name, node in self.nodes.items()
            if isinstance(node, nir.Delay)
        }
        late = {name for name, steps in self.delays.items() if np.all(steps >= 1)}
        instant = [edge for edge in state.graph.edges if edge[1] not in late]
        check_loops(instant, set(self.names))
        self.feedback = feedback_edges(state.graph.edges, late)
        inner = {n: [s for s in self.sources[n] if s not in self.names] for n in self.nodes}
        order({n: sources for n, sources in inner.items() if n not in self.names})

    def chains(self, target: str) -> list[tuple[str, Chain, int]]:
        """Every path from a population into ``target``, and the loops it closes."""
        found: list[tuple[str, Chain, int]] = []
        pending: list[tuple[str, Chain, int]] = [
            (s, (), (s, target) in self.feedback) for s in self.sources[target]
        ]
        while pending:
            name, chain, lag = pending.pop(0)
            if name in self.names:
                found.append((name, chain, int(lag)))
                continue
            before = (name, *chain)
            pending.extend(
                (s, before, lag + ((s, name) in self.feedback)) for s in self.sources[name]
            )
        return found

    def bias(self, population: FloatPopulation) -> Floats:
        """What arrives while all populations are silent."""
        total = self._sum(population.name)[0]
        bias: Floats = total.reshape(population.shape)
        return bias

    def _sum(self, name: str) -> Floats:
        total = self._silent(self.sources[name][0])
        for source in self.sources[name][1:]:
            total = total + self._silent(source)
        return total

    def _silent(self, name: str) -> Floats:
        if name in self.names:
            return np.zeros((1, *self.names[name].shape))
        if name not in self.delays:
            return linear(name, self.nodes[name], self._sum(name))
        arriving = self._sum(name)
        if np.any(arriving) and np.any(self.delays[name]):
            raise refuse(
                name,
                "a bias in front of a Delay would begin late, which no bias on the chip does",
                "put the Delay before the layer with the bias",
            )
        return arriving


def _projection(
    walk: _Walk,
    source: str,
    chain: Chain,
    lag: int,
    target: FloatPopulation,
    shapes: Mapping[str, Shape],
    taken: set[str],
) -> FloatProjection:
    links: list[tuple[str, Any]] = []
    first = last = None
    for position, name in enumerate(chain):
        if name not in walk.delays:
            links.append((name, walk.nodes[name]))
            continue
        steps = walk.delays[name]
        lag += int(steps.min())
        rest = steps - steps.min()
        if not np.any(rest):
            continue
        if all(isinstance(node, nir.Flatten) for _, node in links):
            first = rest.ravel() if first is None else first + rest.ravel()
        elif all(isinstance(walk.nodes[n], (nir.Flatten, nir.Delay)) for n in chain[position:]):
            last = rest.ravel() if last is None else last + rest.ravel()
        else:
            raise refuse(
                name,
                "delays that differ between two linear nodes belong to no synapse",
                "put the Delay behind neurons, or before them",
                f"{steps.min()} … {steps.max()} steps",
            )
    found = compose_chain(links, shapes[source], target.shape, target.name)
    found = _with_gain(found, shapes[source], target)
    lags: Steps | None = None
    if first is not None or last is not None:
        found = listed(found, shapes[source], target.shape, target.name, "delays differ")
        lags = _lags(found, first, last)
    most = lag + (0 if lags is None else int(lags.max()))
    if most > MAX_DELAY:
        raise refuse(
            target.name,
            "a delay is longer than a synapse can have",
            "use shorter delays, or a larger dt",
            f"{most} steps; at most {MAX_DELAY}",
        )
    name = _name(walk, source, chain, target.name, taken)
    return FloatProjection(
        name,
        source,
        target.name,
        found.weight,
        found.geometry,
        found.ends,
        lag,
        lags,
        fixed=not any(hasattr(node, "weight") for _, node in links),
    )


def _lags(synapses: Synapses, first: Steps | None, last: Steps | None) -> Steps:
    """Steps of each synapse: those of its source before the weights, of its target after them."""
    if synapses.ends is None:
        total = np.zeros(synapses.weight.shape, dtype=np.int64)
        total += 0 if first is None else first[None, :]
        total += 0 if last is None else last[:, None]
        return total
    listed_total = np.zeros(synapses.weight.size, dtype=np.int64)
    listed_total += 0 if first is None else first[synapses.ends.columns]
    listed_total += 0 if last is None else last[synapses.ends.rows]
    return listed_total


def _with_gain(synapses: Synapses, source: Shape, target: FloatPopulation) -> Synapses:
    """Each target neuron's gain in its weights."""
    gain = target.gain
    assert gain is not None
    if synapses.geometry is not None:
        rows = gain.reshape(gain.shape[0], -1)
        if (rows == rows[:, :1]).all():
            return synapses._replace(weight=synapses.weight * rows[:, :1, None, None])
        why = "thresholds, τ or r differ inside a channel"
        synapses = listed(synapses, source, target.shape, target.name, why)
    if synapses.ends is None:
        return synapses._replace(weight=synapses.weight * gain.reshape(-1, 1))
    return synapses._replace(weight=synapses.weight * gain.ravel()[synapses.ends.rows])


def _ordered(
    populations: list[FloatPopulation], projections: list[FloatProjection], output: str
) -> FloatNetwork:
    """The populations in topological order, projections that close a loop marked."""
    pairs = {(p.source, p.target) for p in projections}
    loops = feedback_edges(pairs)
    names = {p.name: p for p in populations}
    sources = {n: sorted(s for s, t in pairs - loops if t == n) for n in names}
    marked = [
        replace(p, recurrent=p.recurrent or (p.source, p.target) in loops) for p in projections
    ]
    return FloatNetwork(tuple(names[n] for n in order(sources)), tuple(marked), output)


def _name(walk: _Walk, source: str, chain: Chain, target: str, taken: set[str]) -> str:
    weighted = [name for name in chain if hasattr(walk.nodes[name], "weight")]
    base = weighted[-1] if weighted else f"{source}_to_{target}"
    name, count = base, 2
    while name in taken:
        name, count = f"{base}_{count}", count + 1
    return name
