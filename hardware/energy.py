"""Energy of a sample: operations, static power and management processors, reported apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.counts import Counts
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)

_PJ_PER_MW_US = 1e3
_KINDS: dict[type[Projection], str] = {
    DenseProjection: "dense",
    SparseProjection: "sparse",
    ConvProjection: "conv",
}


@dataclass(frozen=True)
class EnergyLine:
    """One summand of the energy of a sample, with the grade of the constants behind it."""

    name: str
    energy_pj: Band
    grade: str
    note: str


@dataclass(frozen=True)
class DynamicEnergy:
    """What the operations of one sample cost, by kind."""

    synaptic_operations_pj: Band
    neuron_updates_pj: Band
    messages_pj: Band

    @property
    def total_pj(self) -> Band:
        """All operations together."""
        return self.synaptic_operations_pj + self.neuron_updates_pj + self.messages_pj


def synapse_kind(projection: Projection) -> str:
    """The kind under which a chip lists what a synaptic operation costs."""
    return _KINDS[type(projection)]


def population_energy(
    network: DeployedNetwork, name: str, counts: Counts, chip: ChipSpec
) -> DynamicEnergy:
    """Operations of one population: the synapses into it, its updates, the messages it sends.

    Equation: Σ nᵢ eᵢ, the counts divided by the number of samples. Units: pJ a sample.
    """
    seen = counts.populations[name]
    synaptic = Band.total(
        chip.band(f"synaptic_operation_{synapse_kind(p)}_energy_pj")
        * counts.projections[p.name].synaptic_operations
        for p in network.incoming(name)
    )
    share = 1 / counts.samples
    return DynamicEnergy(
        synaptic * share,
        chip.band("neuron_update_energy_pj") * (seen.neuron_updates * share),
        chip.band("message_energy_pj") * (seen.spikes * share),
    )


def energy_lines(
    network: DeployedNetwork, counts: Counts, chip: ChipSpec, latency_us: Band, chips: int
) -> tuple[EnergyLine, ...]:
    """The energy of one sample, line by line.

    Equation: E = Σ nᵢ eᵢ + (P_static + P_management) · chips · t, both powers those of one chip.
    Units: pJ; 1 mW · 1 µs = 1000 pJ.
    """
    parts = [population_energy(network, p.name, counts, chip) for p in network.populations]
    kinds = sorted({synapse_kind(p) for p in network.projections})
    operations = (
        (
            "synaptic operations",
            Band.total(p.synaptic_operations_pj for p in parts),
            [f"synaptic_operation_{kind}_energy_pj" for kind in kinds],
        ),
        (
            "neuron updates",
            Band.total(p.neuron_updates_pj for p in parts),
            ["neuron_update_energy_pj"],
        ),
        ("messages", Band.total(p.messages_pj for p in parts), ["message_energy_pj"]),
    )
    powers = (
        ("static power", "static_power_mw"),
        ("management processors", "management_power_mw"),
    )
    return (
        *(_line(name, energy, constants, chip) for name, energy, constants in operations),
        *(
            _line(name, chip.band(power) * latency_us * (chips * _PJ_PER_MW_US), [power], chip)
            for name, power in powers
        ),
    )


def _line(name: str, energy: Band, constants: Iterable[str], chip: ChipSpec) -> EnergyLine:
    used = [chip[constant] for constant in constants]
    note = "; ".join(dict.fromkeys(f"{c.source} ({c.conditions})" for c in used))
    return EnergyLine(name, energy, chip.weakest_grade(c.name for c in used), note)
