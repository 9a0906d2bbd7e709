"""`profile`: what a run costs on a chip, in energy, time, cores and memory, with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from neurokd.errors import ShapeMismatchError
from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.core_map import map_to_cores
from neurokd.hardware.cores import (
    chips_needed,
    core_bound,
    layer_core_bound,
    synaptic_memory_bits,
)
from neurokd.hardware.counts import Counts
from neurokd.hardware.energy import EnergyLine, energy_lines, population_energy
from neurokd.hardware.latency import Latency, latency
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
)
from neurokd.hardware.run import Run

_CONVENTION = (
    "Counted is all of chip time: a message is a non-zero spike whatever its payload, a synaptic "
    "operation one message reaching one stored synapse (zero weights count, padding does not), a "
    "neuron update one neuron in one chip step; input populations send messages, without updates."
)
_ENERGY_NOTE = (
    "A message is charged once, as if all its targets sat in one core; the host, board and the "
    "transport of input to the chip are not in the energy."
)
_BOUND_NOTE = "The number of cores is a lower bound by neurons and weight bits, not a mapping."


@dataclass(frozen=True)
class Layer:
    """One population's share, per sample."""

    name: str
    neurons: int
    spikes_per_sample: float
    spikes_per_neuron_step: float
    synaptic_operations_per_sample: float
    neuron_updates_per_sample: float
    energy_pj: Band


@dataclass(frozen=True)
class Cores:
    """What the network takes of the chip: mapped, or a lower bound that no mapping can go below.

    ``binding``: the resource that is used up most, in words.
    """

    count: int
    chips: int
    binding: str
    by_population: Mapping[str, int]
    mapped: bool


@dataclass(frozen=True)
class Profile:
    """The cost of a run on a chip; energies and latency are those of one sample.

    ``uncounted``: what the network has and the numbers leave out; empty, or the numbers are not
    to be trusted.
    """

    chip: str
    counts: Counts
    layers: tuple[Layer, ...]
    energy_lines: tuple[EnergyLine, ...]
    latency: Latency
    cores: Cores
    synaptic_memory_bits: int
    uncounted: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def energy_pj(self) -> Band:
        """All lines together."""
        return Band.total(line.energy_pj for line in self.energy_lines)

    def to_dict(self) -> dict[str, Any]:
        """The profile as JSON."""
        return {
            "chip": self.chip,
            "samples": self.counts.samples,
            "steps": self.counts.steps,
            "counts": self.counts.to_dict(),
            "layers": [asdict(layer) for layer in self.layers],
            "energy_lines": [asdict(line) for line in self.energy_lines],
            "energy_pj": self.energy_pj.to_dict(),
            "latency_us": self.latency.latency_us.to_dict(),
            "latency_grade": self.latency.grade,
            "latency_note": self.latency.note,
            "cores": asdict(self.cores),
            "synaptic_memory_bits": self.synaptic_memory_bits,
            "uncounted": list(self.uncounted),
            "notes": list(self.notes),
        }


def profile(
    network: DeployedNetwork, run: Run, chip: ChipSpec | str | None = None, mapped: bool = True
) -> Profile:
    """What ``run`` of ``network`` costs on ``chip`` (default: the chip it was lowered for).

    Its cores are those of `map_to_cores`; ``mapped`` false takes a lower bound instead, for a
    network that does not fit.

    Equation: E = Σ nᵢ eᵢ + (P_static + P_management) · chips · t, its lines apart.
    Counting convention: `neurokd.hardware.counts`. Units: pJ and µs a sample.

    Raises: `UsageError` (unknown chip or constant), `ShapeMismatchError` (another network's run),
    `CapacityError` (the network does not fit the chip's cores).
    """
    spec = (
        chip
        if isinstance(chip, ChipSpec)
        else ChipSpec.load(network.chip if chip is None else chip)
    )
    counts = run.counts
    _check_same_network(network, counts)
    cores = _mapped_cores(network, spec) if mapped else _bounded_cores(network, spec)
    time = latency(network, counts, spec, cores.by_population, cores.chips)
    notes = [_CONVENTION, _ENERGY_NOTE, *([] if mapped else [_BOUND_NOTE])]
    for power in ("static_power_mw", "management_power_mw"):
        constant, band = spec[power], spec.band(power)
        notes.append(
            f"{power} {band.nominal:g} ({band.low:g} … {band.high:g}) a chip, "
            f"chips: {cores.chips}; {constant.conditions}."
        )
    if any(c.grade == "assumed" for n, c in spec.constants.items() if n.endswith("_energy_pj")):
        notes.append(f"{spec.title}: no energy per operation is published; this is an estimate.")
    graded = [p.name for p in network.populations if _is_graded(p)]
    if graded and not spec.integer("spike_payload_bits"):
        notes.append(
            f"{spec.title} has no graded spikes, which {', '.join(graded)} would send: "
            "these numbers are for comparison."
        )
    return Profile(
        chip=spec.name,
        counts=counts,
        layers=tuple(_layer(network, p.name, counts, spec) for p in network.populations),
        energy_lines=energy_lines(network, counts, spec, time.latency_us, cores.chips),
        latency=time,
        cores=cores,
        synaptic_memory_bits=synaptic_memory_bits(network),
        uncounted=(),
        notes=tuple(notes),
    )


def _is_graded(population: Population) -> bool:
    """Whether its messages carry a payload."""
    if isinstance(population, InputPopulation):
        return population.encoding == "graded"
    return not isinstance(population, LIFPopulation | CurrentInputPopulation)


def _mapped_cores(network: DeployedNetwork, spec: ChipSpec) -> Cores:
    found = map_to_cores(network, spec)
    resource, used, limit = found.binding()
    binding = f"{resource.replace('_', ' ')}: {used:,} of {limit:,}"
    return Cores(len(found.cores), found.chips, binding, dict(found.cores_of), mapped=True)


def _bounded_cores(network: DeployedNetwork, spec: ChipSpec) -> Cores:
    bound = core_bound(network, spec)
    by_population = {
        p.name: layer_core_bound(network, p.name, spec).minimum
        for p in network.populations
        if not isinstance(p, InputPopulation)
    }
    chips = chips_needed(bound.minimum, spec)
    return Cores(bound.minimum, chips, bound.binding, by_population, mapped=False)


def _layer(network: DeployedNetwork, name: str, counts: Counts, spec: ChipSpec) -> Layer:
    seen, samples = counts.populations[name], counts.samples
    operations = sum(counts.projections[p.name].synaptic_operations for p in network.incoming(name))
    return Layer(
        name=name,
        neurons=seen.neurons,
        spikes_per_sample=seen.spikes / samples,
        spikes_per_neuron_step=seen.spikes / (seen.neurons * counts.steps * samples),
        synaptic_operations_per_sample=operations / samples,
        neuron_updates_per_sample=seen.neuron_updates / samples,
        energy_pj=population_energy(network, name, counts, spec).total_pj,
    )


def _check_same_network(network: DeployedNetwork, counts: Counts) -> None:
    populations = {p.name: p.size for p in network.populations}
    counted = {name: seen.neurons for name, seen in counts.populations.items()}
    projections = {p.name for p in network.projections}
    if populations != counted or projections != set(counts.projections):
        raise ShapeMismatchError(
            "the run is not one of this network",
            where="profile",
            expected=f"populations {populations}, projections {sorted(projections)}",
            found=f"populations {counted}, projections {sorted(counts.projections)}",
        )
