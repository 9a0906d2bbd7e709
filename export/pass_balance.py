"""Pass: paths of unequal length are made equal, by delays and by relays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neurokd.export.float_network import Ends, FloatNetwork, FloatPopulation, FloatProjection
from neurokd.export.lowering import Lowering, refuse
from neurokd.export.unroll_conv import unroll, unrolled_size
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.weight_format import MAX_DELAY

_DELAY_BITS = 6


def balance(state: Lowering) -> Lowering:
    """Every projection gets the delay by which what it carries would come too early.

    With λ the depth of a population: a message of source s is sent λ(s) steps after the model
    sends it, and takes a step and its delay to its target t, which the model reaches after its own
    lag: delay = λ(t) − λ(s) − 1 + lag. A convolution has no delays. The cheaper of two ways is
    taken, in cores by neurons and by synaptic memory: its synapses are written out, or a relay
    population of as many neurons as its source repeats the spikes, and synapses one to one carry
    the delay there.

    Raises: `UnsupportedNodeError` for a loop that takes more steps on the chip than in the model,
    and for a delay that no synapse can have.
    """
    network = state.floats
    notes: dict[str, dict[str, Any]] = {}
    while True:
        found = positions(network, state.hosted)
        network = replace(
            network, projections=tuple(_delayed(network, p, found) for p in network.projections)
        )
        late = next((p for p in network.projections if p.geometry is not None and p.delay), None)
        if late is None:
            break
        network, way = _without_delay(state, network, late)
        _note(notes, late, way)
    relays = {p.name for p in network.populations if p.relay}
    for p in network.projections:
        known = notes.get(p.target, {}).get("delays", {})
        if p.delay and p.name not in known and p.target not in relays:
            _note(notes, p, "synapses")
    for name in relays:
        size = network.population(name).size
        notes[name] = {"relay_of": network.incoming(name)[0].source, "neurons": size}
    return replace(state, network=network, report=state.noted(**notes))


def _note(notes: dict[str, dict[str, Any]], projection: FloatProjection, way: str) -> None:
    entry = notes.setdefault(projection.target, {"delays": {}})["delays"]
    entry[projection.name] = {"steps": projection.delay, "by": way}


def positions(network: FloatNetwork, hosted: str | None) -> Mapping[str, int]:
    """Steps by which each population lags behind the input: the longest path to it.

    A relay comes as late as what reads it allows, a drive is there from the first step. The host's
    layer takes no step on the chip.
    """
    found: dict[str, int] = {}
    for population in network.populations:
        sources = [found[p.source] for p in network.incoming(population.name) if not p.recurrent]
        found[population.name] = 1 + max(sources) if sources else -1 if hosted else 0
        if population.drive:
            found[population.name] = 0
    for population in network.populations:
        if population.relay:
            (reader,) = (p for p in network.projections if p.source == population.name)
            found[population.name] = found[reader.target] - 1 + reader.lag
    return found


def _delayed(
    network: FloatNetwork, projection: FloatProjection, found: Mapping[str, int]
) -> FloatProjection:
    if network.population(projection.target).drive:
        return projection
    between = found[projection.target] - found[projection.source] - 1
    delay = between + projection.lag
    if delay < 0:
        raise refuse(
            projection.target,
            "a loop over several layers of neurons takes a step for each of them on the chip",
            f"put a Delay of {-between} steps or more into the edge that closes the loop, and "
            "train with it",
            f"projection {projection.name!r} closes it after {projection.lag} steps, "
            f"the chip after {-between}",
        )
    most = delay + (0 if projection.lags is None else int(projection.lags.max(initial=0)))
    if most > MAX_DELAY:
        raise refuse(
            projection.target,
            "a delay is longer than a synapse can have",
            "use shorter delays, or put neurons on the shortcut",
            f"projection {projection.name!r}: {most} steps; at most {MAX_DELAY}",
        )
    return replace(projection, delay=delay)


def _without_delay(
    state: Lowering, network: FloatNetwork, late: FloatProjection
) -> tuple[FloatNetwork, str]:
    """The network with a delayed convolution written out, or behind a relay; which of them."""
    assert late.geometry is not None
    source, target = network.population(late.source), network.population(late.target)
    chip = ChipSpec.load(state.options.chip)
    memory = chip.integer("synaptic_memory_per_core_bits")
    bits = state.options.weight_bits + _DELAY_BITS
    count = unrolled_size(late.weight, late.geometry, source.shape, target.shape)
    written = count * bits / memory
    relayed = source.size / chip.integer("neurons_per_core") + source.size * bits / memory
    relayed += late.weight.size * state.options.weight_bits / memory
    # what passes on spikes cannot pass on graded messages
    graded = state.largest_message(late.source) > 1
    if not graded and relayed < written:
        return _with_relay(network, late, source), "relay"
    weight, ends = unroll(late.weight, late.geometry, source.shape, target.shape)
    plain = replace(late, weight=weight, ends=ends, geometry=None)
    projections = tuple(plain if p is late else p for p in network.projections)
    return replace(network, projections=projections), "written out"


def _with_relay(
    network: FloatNetwork, late: FloatProjection, source: FloatPopulation
) -> FloatNetwork:
    """One neuron a source neuron, which fires on every spike and keeps nothing."""
    name = f"{late.name}.relay"
    relay = FloatPopulation(
        name,
        source.shape,
        "spiking",
        np.zeros(source.shape),
        beta=0.0,
        threshold=0.5,
        relay=True,
    )
    each = np.arange(source.size)
    kept = 1 if late.recurrent else 0
    entry = FloatProjection(
        f"{name}.in",
        source.name,
        name,
        np.ones(source.size),
        ends=Ends(each, each),
        lag=late.lag - kept,
        fixed=True,
    )
    onward = replace(late, source=name, lag=kept, delay=0)
    after = max(i for i, p in enumerate(network.populations) if p.name == source.name) + 1
    populations = (*network.populations[:after], relay, *network.populations[after:])
    projections = []
    for projection in network.projections:
        projections.extend([entry, onward] if projection is late else [projection])
    return replace(network, populations=populations, projections=tuple(projections))
