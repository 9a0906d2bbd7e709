"""The float network between NIR and the chip: populations and projections, not yet rounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from neurokd.errors import UsageError
from neurokd.export.linear_maps import Floats, conv

Shape = tuple[int, ...]


@dataclass(frozen=True)
class FloatPopulation:
    """Neurons of one kind; all share decays and threshold.

    Equation: u ← keep u + Σ W s; v ← beta v + u + bias; a spiking one fires at v > threshold and
    resets to 0, an accumulator gives v. ``gain`` is what NIR's r, τ and w_in multiply the input
    with; it is 1 once it is folded into weights and bias.
    """

    name: str
    shape: Shape
    kind: Literal["input", "spiking", "accumulator"]
    bias: Floats
    keep: float = 0.0
    beta: float = 1.0
    threshold: float = 0.0
    gain: float = 1.0


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution walks over its source."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class FloatProjection:
    """Weights from one population to another: (targets, sources), or a convolution's kernel."""

    name: str
    source: str
    target: str
    weight: Floats
    geometry: ConvGeometry | None = None

    def currents(self, messages: Floats, target_shape: Shape) -> Floats:
        """Σ W s for messages (N, *source shape) → (N, *target shape)."""
        if self.geometry is None:
            flat = messages.reshape(len(messages), -1) @ self.weight.T
            return flat.reshape(len(messages), *target_shape)
        g = self.geometry
        return conv(messages, self.weight, g.stride, g.padding, g.dilation, g.groups)

    def one_sided_sums(self) -> tuple[Floats, Floats]:
        """For each row of weights: the sum of the positive ones, and minus that of the negative."""
        rows = self.weight.reshape(self.weight.shape[0], -1)
        return np.maximum(rows, 0).sum(axis=1), np.maximum(-rows, 0).sum(axis=1)


@dataclass(frozen=True)
class FloatNetwork:
    """Populations in topological order, the input first, and the projections between them."""

    populations: tuple[FloatPopulation, ...]
    projections: tuple[FloatProjection, ...]
    output: str

    def population(self, name: str) -> FloatPopulation:
        """The population of this name."""
        for candidate in self.populations:
            if candidate.name == name:
                return candidate
        raise UsageError("no such population", where="network", found=repr(name))

    def incoming(self, name: str) -> tuple[FloatProjection, ...]:
        """The projections into a population."""
        return tuple(p for p in self.projections if p.target == name)

    @property
    def neurons(self) -> tuple[FloatPopulation, ...]:
        """All populations but the input."""
        return tuple(p for p in self.populations if p.kind != "input")


DEPTH_QUANTILE = 0.999


class Peak(NamedTuple):
    """How far a population went: the largest |u|, and how far below 0 its v fell.

    ``membrane`` is the depth that all but 0.1 % of v keep within, in the worst step. v saturates
    and does not wrap: above, it fires as it should; below, a neuron that far down recovers sooner.
    """

    current: float
    membrane: float


def run_float(network: FloatNetwork, x: Floats) -> tuple[dict[str, Floats], dict[str, Peak]]:
    """What every population sends, and its peaks, without any delay between populations.

    Shapes: x (T, B, *shape) → records (T, B, *shape).
    """
    records: dict[str, Floats] = {}
    peaks: dict[str, Peak] = {}
    for population in network.populations:
        if population.kind == "input":
            records[population.name] = x
            continue
        arriving = np.zeros((*x.shape[:2], *population.shape))
        for projection in network.incoming(population.name):
            messages = records[projection.source]
            if messages.strides[0] == 0:
                # the same at every step, as static samples are: once is enough
                messages = messages[:1]
            merged = messages.reshape(-1, *messages.shape[2:])
            current = projection.currents(merged, population.shape)
            arriving += current.reshape(*messages.shape[:2], *population.shape)
        records[population.name], peaks[population.name] = _integrate(population, arriving)
    return records, peaks


def _integrate(population: FloatPopulation, arriving: Floats) -> tuple[Floats, Peak]:
    u = np.zeros_like(arriving[0])
    v = np.zeros_like(arriving[0])
    output = np.empty_like(arriving)
    current = membrane = 0.0
    for t, a in enumerate(arriving):
        u = population.keep * u + a
        v = population.beta * v + u + population.bias
        current = max(current, float(np.abs(u).max(initial=0.0)))
        rank = int(DEPTH_QUANTILE * (v.size - 1))
        deep = np.partition(np.maximum(-v, 0.0), rank, axis=None)[rank]
        membrane = max(membrane, float(deep))
        output[t] = v
        if population.kind == "spiking":
            output[t] = v > population.threshold
            v = np.where(v > population.threshold, 0.0, v)
    return output, Peak(current, membrane)


def depths(network: FloatNetwork) -> Mapping[str, int]:
    """Delivery steps from the input to each population, by its longest path."""
    result: dict[str, int] = {}
    for population in network.populations:
        sources = [result[p.source] for p in network.incoming(population.name)]
        result[population.name] = 1 + max(sources) if sources else 0
    return result
