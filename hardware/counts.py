"""Counts: spikes, synaptic operations and neuron updates, per population and projection.

Convention. A *message* is a non-zero spike (its payload does not matter). A *synaptic operation* is
one message reaching one stored synapse: zero weights count, padding does not, since no synapse is
there; one that a delay holds back past the end counts too. A *neuron update* is one neuron in one
chip step, whether anything arrived or not. An `InputPopulation` sends messages and is not updated;
neurons that a constant current or changing data drives are. Counted is all of chip time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.population import InputPopulation
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)

if TYPE_CHECKING:
    from neurokd.hardware.network import DeployedNetwork


@dataclass(frozen=True)
class PopulationCounts:
    """Totals of a population over all steps and samples."""

    neurons: int
    spikes: int
    neuron_updates: int


@dataclass(frozen=True)
class ProjectionCounts:
    """Totals of a projection over all steps and samples."""

    source: str
    target: str
    synaptic_operations: int


@dataclass(frozen=True)
class Counts:
    """Totals over ``steps`` chip steps of each of ``samples`` samples."""

    steps: int
    samples: int
    populations: Mapping[str, PopulationCounts]
    projections: Mapping[str, ProjectionCounts]

    @property
    def spikes(self) -> int:
        """Messages of all populations, the input included."""
        return sum(p.spikes for p in self.populations.values())

    @property
    def synaptic_operations(self) -> int:
        """Synaptic operations of all projections."""
        return sum(p.synaptic_operations for p in self.projections.values())

    @property
    def neuron_updates(self) -> int:
        """Neuron updates of all populations."""
        return sum(p.neuron_updates for p in self.populations.values())

    @classmethod
    def merge(cls, parts: Sequence[Counts]) -> Counts:
        """The counts of several runs of one network, over the same number of steps, as one."""
        first = parts[0]
        return cls(
            steps=first.steps,
            samples=sum(part.samples for part in parts),
            populations={
                name: PopulationCounts(
                    neurons=first.populations[name].neurons,
                    spikes=sum(part.populations[name].spikes for part in parts),
                    neuron_updates=sum(part.populations[name].neuron_updates for part in parts),
                )
                for name in first.populations
            },
            projections={
                name: ProjectionCounts(
                    source=entry.source,
                    target=entry.target,
                    synaptic_operations=sum(
                        part.projections[name].synaptic_operations for part in parts
                    ),
                )
                for name, entry in first.projections.items()
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON."""
        return asdict(self)


def fan_out(projection: Projection, source_shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Stored synapses that one message of each source neuron reaches; shape ``source_shape``."""
    if isinstance(projection, DenseProjection):
        return np.full(source_shape, projection.weight.shape[0], dtype=np.int64)
    if isinstance(projection, SparseProjection):
        reach = np.bincount(projection.columns, minlength=math.prod(source_shape))
        return reach.astype(np.int64).reshape(source_shape)
    return _conv_fan_out(projection, source_shape)


def _conv_fan_out(projection: ConvProjection, source_shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Per axis, how many (kernel tap, output position) pairs read an input position; their product
    times the output channels of a group."""
    output_shape = projection.output_shape(source_shape)
    reads = []
    for axis in range(2):
        size, outputs = source_shape[1 + axis], output_shape[1 + axis]
        taps = np.arange(projection.weight.shape[2 + axis]) * projection.dilation[axis]
        starts = np.arange(outputs) * projection.stride[axis] - projection.padding[axis]
        positions = (starts[:, None] + taps[None, :]).ravel()
        inside = positions[(positions >= 0) & (positions < size)]
        reads.append(np.bincount(inside, minlength=size))
    channels = projection.weight.shape[0] // projection.groups
    plane = np.outer(reads[0], reads[1]) * channels
    return np.broadcast_to(plane, source_shape).astype(np.int64)


def count(
    network: DeployedNetwork,
    messages: Mapping[str, NDArray[np.int64]],
    *,
    steps: int,
    samples: int,
) -> Counts:
    """Counts from ``messages``: of each population, messages per neuron over time and samples.

    Shapes: ``messages[name]`` has the shape of the population.
    """
    populations = {}
    for population in network.populations:
        updated = not isinstance(population, InputPopulation)
        populations[population.name] = PopulationCounts(
            neurons=population.size,
            spikes=int(messages[population.name].sum()),
            neuron_updates=population.size * steps * samples if updated else 0,
        )
    projections = {}
    for projection in network.projections:
        reach = fan_out(projection, network.population(projection.source).shape)
        projections[projection.name] = ProjectionCounts(
            source=projection.source,
            target=projection.target,
            synaptic_operations=int((messages[projection.source] * reach).sum()),
        )
    return Counts(steps=steps, samples=samples, populations=populations, projections=projections)
