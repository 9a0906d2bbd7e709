"""Cores: a lower bound on how many a network needs; a real mapping can only need more."""

from __future__ import annotations

from dataclasses import dataclass

from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation


@dataclass(frozen=True)
class CoreBound:
    """The least number of cores, which resource forces it, and what went into it.

    ``binding``: "neurons", "synaptic memory", or "neither" where one core holds everything.
    """

    minimum: int
    binding: str
    neurons: int
    synaptic_memory_bits: int


def synaptic_memory_bits(network: DeployedNetwork, population: str | None = None) -> int:
    """Weight bits of all projections, or of those into one population.

    Equation: Σ stored synapses · num_weight_bits, zero weights included; a convolution's kernel is
    stored once. Headers, indices, delays and copies in several cores are left out.
    """
    projections = network.projections if population is None else network.incoming(population)
    return sum(p.synapses * p.num_weight_bits for p in projections)


def core_bound(network: DeployedNetwork, chip: ChipSpec) -> CoreBound:
    """Lower bound: populations may share cores, and nothing is lost at the edges.

    Equation: max(⌈neurons / neurons per core⌉, ⌈synaptic bits / synaptic bits per core⌉).
    """
    neurons = sum(p.size for p in network.populations if not isinstance(p, InputPopulation))
    return _bound(neurons, synaptic_memory_bits(network), chip)


def layer_core_bound(network: DeployedNetwork, population: str, chip: ChipSpec) -> CoreBound:
    """The bound for one population alone, with the synapses into it."""
    size = network.population(population).size
    return _bound(size, synaptic_memory_bits(network, population), chip)


def chips_needed(cores: int, chip: ChipSpec) -> int:
    """The least number of chips that have this many usable cores."""
    return max(1, -(-cores // chip.integer("usable_cores_per_chip")))


def _bound(neurons: int, bits: int, chip: ChipSpec) -> CoreBound:
    by_neurons = -(-neurons // chip.integer("neurons_per_core"))
    by_memory = -(-bits // chip.integer("synaptic_memory_per_core_bits"))
    minimum = max(1, by_neurons, by_memory)
    if minimum == 1:
        binding = "neither"
    else:
        binding = "neurons" if by_neurons >= by_memory else "synaptic memory"
    return CoreBound(minimum, binding, neurons, bits)
