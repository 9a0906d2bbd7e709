"""Latency: chip steps times the time of a step, which the busiest core decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.counts import Counts
from neurokd.hardware.energy import synapse_kind
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation

_NOTE = (
    "chip only, host input and output excluded; low spreads all work evenly over all usable cores, "
    "nominal and high give every population its cores, each to itself; work is averaged over steps "
    "and samples"
)


@dataclass(frozen=True)
class Latency:
    """Time of one sample on the chip."""

    latency_us: Band
    grade: str
    note: str


def latency(
    network: DeployedNetwork,
    counts: Counts,
    chip: ChipSpec,
    cores_of: Mapping[str, int],
    chips: int,
) -> Latency:
    """Time of one sample.

    ``cores_of``: the number of cores of every population that is on the chip.

    Equation: t = steps · (t_overhead + busiest core's work), where a layer's work in a step is
    synops in · t_synop + neurons · t_update + messages out · t_message, shared by its cores.
    Units: µs. Source: synchronous cores that work one after the other through what they have
    (Davies et al. 2018); the step follows the busiest core (floorline, Yik et al. 2511.21549).
    """
    names = {"step_overhead_us", "neuron_update_time_ns", "message_time_ns"}
    work, shared = [], []
    for population in network.populations:
        if isinstance(population, InputPopulation):
            continue
        seen = counts.populations[population.name]
        time_ns = chip.band("neuron_update_time_ns") * seen.neuron_updates
        time_ns = time_ns + chip.band("message_time_ns") * seen.spikes
        for projection in network.incoming(population.name):
            name = f"synaptic_operation_{synapse_kind(projection)}_time_ns"
            names.add(name)
            operations = counts.projections[projection.name].synaptic_operations
            time_ns = time_ns + chip.band(name) * operations
        per_step = time_ns * (1e-3 / (counts.steps * counts.samples))
        work.append(per_step)
        shared.append(per_step * (1 / cores_of[population.name]))
    cores = chips * chip.integer("usable_cores_per_chip")
    busiest = Band(
        min(sum(w.low for w in work) / cores, max(s.low for s in shared)),
        max(s.nominal for s in shared),
        max(s.high for s in shared),
    )
    step_us = chip.band("step_overhead_us") + busiest
    return Latency(step_us * counts.steps, chip.weakest_grade(names), _NOTE)
