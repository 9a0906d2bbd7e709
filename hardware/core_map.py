"""`map_to_cores`: which core holds which neurons, and what that takes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neurokd.errors import CapacityError
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.core_messages import destinations
from neurokd.hardware.core_slice import Slice, cut, middle, tiles
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation
from neurokd.hardware.synaptic_memory import SynapticNeed, synaptic_need

RESOURCES = {
    "neurons": "neurons_per_core",
    "synaptic_memory_bits": "synaptic_memory_per_core_bits",
    "input_axons": "input_axons_per_core",
    "output_axons": "output_axons_per_core",
    "neuron_configurations": "neuron_configurations_per_core",
    "threshold_configurations": "threshold_configurations_per_core",
}
"""What a core has to give, and the chip constant that says how much."""
_REMEDIES = {
    "synaptic_memory_bits": "use fewer weight bits or synapses into each neuron",
    "input_axons": "give each neuron fewer sources: fewer channels, a smaller kernel, groups, or a "
    "population in between",
    "output_axons": "give each neuron fewer targets, or the target fewer neurons",
}


@dataclass(frozen=True)
class Use:
    """What slices take of a core; ``input_axons`` and ``output_axons`` as entries of its tables."""

    neurons: int
    synaptic_memory_bits: int
    input_axons: int
    output_axons: int
    neuron_configurations: int = 1
    threshold_configurations: int = 1

    def __add__(self, other: Use) -> Use:
        return Use(*(getattr(self, name) + getattr(other, name) for name in RESOURCES))


@dataclass(frozen=True)
class Core:
    """One core: ``chip`` and ``index`` count from 0."""

    chip: int
    index: int
    slices: tuple[Slice, ...]
    use: Use


@dataclass(frozen=True)
class CoreMap:
    """Every neuron in a core, all limits kept.

    ``limits``: what a core of this chip has of each of `RESOURCES`. ``grade``: the weakest among
    the limits' grades.
    """

    chip: str
    cores: tuple[Core, ...]
    limits: Mapping[str, int]
    grade: str

    @property
    def chips(self) -> int:
        """Number of chips."""
        return self.cores[-1].chip + 1

    @cached_property
    def cores_of(self) -> Mapping[str, int]:
        """The number of cores that each population has neurons in."""
        totals: dict[str, int] = {}
        for core in self.cores:
            for name in {part.population for part in core.slices}:
                totals[name] = totals.get(name, 0) + 1
        return totals

    def binding(self, population: str | None = None) -> tuple[str, int, int]:
        """The resource that is used up most in some core (of the population), its use and limit."""
        uses = [
            core.use
            for core in self.cores
            if population is None or any(part.population == population for part in core.slices)
        ]
        peaks = {name: max(getattr(use, name) for use in uses) for name in RESOURCES}
        name = max(peaks, key=lambda resource: peaks[resource] / self.limits[resource])
        return name, peaks[name], self.limits[name]

    def to_dict(self) -> dict[str, Any]:
        """The map as JSON."""
        return {
            "chip": self.chip,
            "chips": self.chips,
            "cores": [
                {
                    "chip": core.chip,
                    "core": core.index,
                    "slices": [str(part) for part in core.slices],
                    **asdict(core.use),
                }
                for core in self.cores
            ],
            "limits": dict(self.limits),
            "binding": {name: list(self.binding(name)) for name in self.cores_of},
            "grade": self.grade,
        }


def map_to_cores(network: DeployedNetwork, chip: ChipSpec | str | None = None) -> CoreMap:
    """Cut every population into as few slices as the limits of a core allow, and place them.

    A slice is a box of neurons; its core holds all synapses into it (`synaptic_need`) and an
    output axon for each pair of a neuron and a slice it sends to. Slices are placed in the order
    of the network, several in one core while all of them fit. Messages of an input population
    come from outside and take no core.

    Raises: `CapacityError`: one neuron alone does not fit; names the population, the limit that
    binds, and what would help.
    """
    spec = (
        chip
        if isinstance(chip, ChipSpec)
        else ChipSpec.load(network.chip if chip is None else chip)
    )
    limits = {name: spec.integer(constant) for name, constant in RESOURCES.items()}
    on_chip = [p for p in network.populations if not isinstance(p, InputPopulation)]
    parts = {p.name: cut(p.name, p.shape, p.shape) for p in on_chip}
    # Targets before sources: the output axons of a slice depend on how its targets are cut. A loop
    # goes round until nothing changes; as slices only get smaller, it ends.
    changed = True
    while changed:
        changed = False
        for population in reversed(on_chip):
            split = _split(network, population.name, parts, limits)
            changed |= split != parts[population.name]
            parts[population.name] = split
    uses = []
    for population in on_chip:
        needs = _Needs(network, population.name, parts)
        uses += [(part, needs.of(part)) for part in parts[population.name]]
    return CoreMap(
        spec.name,
        _place(uses, limits, spec.integer("usable_cores_per_chip")),
        limits,
        spec.weakest_grade(RESOURCES.values()),
    )


class _Needs:
    """What slices of one population take, the cuts of all populations given."""

    def __init__(self, network: DeployedNetwork, name: str, parts: Mapping[str, Sequence[Slice]]):
        self._shape = network.population(name).shape
        self._incoming = [(p, network.population(p.source).shape) for p in network.incoming(name)]
        self._output_axons = np.zeros(self._shape, dtype=np.int64)
        for p in network.outgoing(name):
            target = network.population(p.target).shape
            self._output_axons += destinations(p, self._shape, target, parts[p.target])

    def of(self, part: Slice) -> Use:
        need = sum(
            (synaptic_need(p, source, part, self._shape) for p, source in self._incoming),
            start=SynapticNeed(0, 0),
        )
        output_axons = int(self._output_axons[part.index].sum())
        return Use(part.size, need.memory_bits, need.input_axons, output_axons)


def _split(
    network: DeployedNetwork,
    name: str,
    parts: Mapping[str, Sequence[Slice]],
    limits: Mapping[str, int],
) -> tuple[Slice, ...]:
    """The fewest slices of which each fits a core, but not fewer than it has now."""
    shape = network.population(name).shape
    feeds_itself = any(p.target == name for p in network.outgoing(name))
    needs = _Needs(network, name, parts)
    _require_one_neuron_fits(needs.of(middle(name, shape, (1,) * len(shape))), name, limits)
    for tile in tiles(shape):
        pieces = math.prod(-(-size // step) for size, step in zip(shape, tile, strict=True))
        probe = middle(name, shape, tile)
        if pieces < len(parts[name]) or not _fits(needs.of(probe), limits):
            continue
        found = cut(name, shape, tile)
        if feeds_itself:
            needs = _Needs(network, name, {**parts, name: found})
        if all(_fits(needs.of(part), limits) for part in found):
            return found
    raise CapacityError(
        "no cut of this population fits the cores",
        where=f"population {name!r}",
        remedy="let fewer populations project into it or out of it",
    )


def _require_one_neuron_fits(use: Use, name: str, limits: Mapping[str, int]) -> None:
    for resource, limit in limits.items():
        needed = getattr(use, resource)
        if needed > limit:
            raise CapacityError(
                f"{name} needs {needed:,} {resource.replace('_', ' ')} on one core for a single "
                f"neuron, the limit is {limit:,}",
                where=f"population {name!r}",
                expected=f"≤ {limit:,}",
                found=f"{needed:,}",
                remedy=_REMEDIES.get(resource, "use another chip"),
            )


def _fits(use: Use, limits: Mapping[str, int]) -> bool:
    return all(getattr(use, name) <= limit for name, limit in limits.items())


def _place(
    uses: Sequence[tuple[Slice, Use]], limits: Mapping[str, int], cores_per_chip: int
) -> tuple[Core, ...]:
    """Slices in order, each into the core of the one before while both fit, else into the next."""
    filled: list[tuple[list[Slice], Use]] = []
    for part, use in uses:
        if filled and _fits(filled[-1][1] + use, limits):
            slices, before = filled[-1]
            filled[-1] = ([*slices, part], before + use)
        else:
            filled.append(([part], use))
    return tuple(
        Core(*divmod(number, cores_per_chip), tuple(slices), use)
        for number, (slices, use) in enumerate(filled)
    )
