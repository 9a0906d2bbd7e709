"""Pass: biases that would be remembered before the first input arrives become driven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurokd.export.constant_drive import constant_drive
from neurokd.export.float_network import FloatNetwork
from neurokd.export.float_run import run_float
from neurokd.export.lowering import Lowering
from neurokd.export.pass_balance import positions


def drives(state: Lowering) -> Lowering:
    """Replace biases by `constant_drive` where what they do too early would not be forgotten.

    The chip adds biases from its first step on, and a population forgets at its start step what
    came before. A lag (a loop, a Delay) carries spikes of that time beyond it: where silence lets
    a population with one spike, its bias and those before it are driven instead.
    """
    network = state.floats
    exposed = {p.source for p in network.projections if p.lag or p.lags is not None}
    early = _spiking_in_silence(state) & exposed if exposed else set()
    wanted = _before(network, early)
    chosen = [
        p for p in network.neurons if p.name in wanted and p.bias.any() and not p.drive
        and p.name != state.hosted
    ]  # fmt: skip
    if not chosen:
        return state
    reached_from = state.hosted or network.populations[0].name
    populations, projections = list(network.populations), list(network.projections)
    for population in chosen:
        neuron, joined = constant_drive(population, population.bias, reached_from)
        place = next(i for i, p in enumerate(populations) if p.name == population.name)
        silent = replace(population, bias=np.zeros_like(population.bias))
        populations[place : place + 1] = [neuron, silent]
        projections.extend(joined)
    driven = FloatNetwork(tuple(populations), tuple(projections), network.output)
    notes = {p.name: {"bias_by": f"{p.name}.bias"} for p in chosen}
    return replace(state, network=driven, report=state.noted(**notes))


def _spiking_in_silence(state: Lowering) -> set[str]:
    """Populations that spike without input in as many steps as the output is away."""
    network = state.floats
    steps = 1 + max(positions(network, state.hosted).values())
    source = network.populations[0]
    if state.hosted is not None:
        hosted = network.population(state.hosted)
        still = replace(hosted, bias=np.zeros_like(hosted.bias))
        network = replace(
            network,
            populations=tuple(still if p is hosted else p for p in network.populations),
        )
    records, _ = run_float(network, np.zeros((steps, 1, *source.shape)))
    return {p.name for p in network.neurons if p.kind == "spiking" and records[p.name].any()}


def _before(network: FloatNetwork, names: set[str]) -> set[str]:
    """These populations and all that lead to them."""
    found = set(names)
    while True:
        more = {p.source for p in network.projections if p.target in found} - found
        if not more:
            return found
        found |= more
