"""Random `DeployedNetwork`s of the full grammar with their input, one for each seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    AnyInputPopulation,
    CurrentInputPopulation,
    DeltaInputPopulation,
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)

SIGN_MODES = ("mixed", "excitatory", "inhibitory")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A network and what it is given; ``steps`` is the length of the run."""

    seed: int
    net: DeployedNetwork
    x: NDArray[np.int32]
    steps: int

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.x.shape[-1 - len(self.net.input.shape)])


def random_case(seed: int) -> Case:
    """The network of a seed: the same on every machine and with every numpy from 1.26."""
    return _Grammar(seed).case()


class _Grammar:
    """One network in the making; ``wild`` numbers are larger than a student's, ``extreme`` ones
    are there to wrap 32 bits; ``spiking`` networks have nothing but LIF behind their input."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = np.random.default_rng([20261120, seed])
        self.wild = self.chance(0.5)
        self.extreme = self.wild and self.chance(0.5)
        self.spiking = self.chance(0.4)
        self.steps = self.integer(4, 10)
        self.samples = self.integer(1, 3)
        self.delay_limit = self.choose([0, 1, 3, 3, 62])
        if self.delay_limit == 62 and self.chance(0.3):
            self.steps = 66
            self.samples = 1

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def choose(self, options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def magnitude(self, high: int) -> int:
        """0 … high, every size of number as likely as every other."""
        bits = self.integer(0, high.bit_length())
        return min(high, self.integer(0, (1 << bits) - 1))

    def ints(self, low: int, high: int, shape: Shape) -> NDArray[np.int32]:
        return self.rng.integers(low, high, shape, endpoint=True).astype(np.int32)

    def case(self) -> Case:
        """Populations in order, each behind an earlier one; then loops."""
        populations: list[Population] = [self.input()]
        projections: list[Projection] = []
        for i in range(self.integer(1, 4)):
            source = populations[-1] if self.chance(0.7) else self.choose(populations)
            name = f"p{i}"
            first, shape = self.primary(f"{name}.0", source, name)
            target = self.population(name, shape)
            projections.append(first)
            for j in range(1, 3):
                if self.chance(0.25):
                    other = self.choose(populations)
                    projections.append(self.between(f"{name}.{j}", other, target, False))
            populations.append(target)
        hidden = populations[1:]
        for j in range(2):
            if self.chance(0.25):
                target = self.choose(hidden)
                source = self.choose(hidden[hidden.index(target) :])
                projections.append(self.between(f"r{j}", source, target, True))
        order = self.rng.permutation(len(projections))
        net = DeployedNetwork(
            populations=tuple(populations),
            projections=tuple(projections[i] for i in order),
            output=hidden[-1].name,
            chip="loihi2",
            steps=self.steps,
        )
        return Case(self.seed, net, self.data(net.input), self.steps)

    # populations

    def shape(self) -> Shape:
        if self.chance(0.6):
            return (self.integer(1, 3), self.integer(1, 6), self.integer(1, 6))
        return self.choose([(self.integer(1, 12),), (self.integer(1, 3), self.integer(1, 4))])

    def input(self) -> AnyInputPopulation:
        kinds = ["spikes", "graded", "graded", "current", "delta"]
        kind, shape = self.choose(kinds[:4] if self.spiking else kinds), self.shape()
        if kind == "spikes":
            return InputPopulation("in", shape)
        if kind == "graded":
            bits = 24 if self.extreme else self.integer(9, 24) if self.wild else self.integer(1, 8)
            return InputPopulation("in", shape, "graded", bits=bits, signed=self.chance(0.5))
        if kind == "current":
            return CurrentInputPopulation(
                "in",
                shape,
                dv=self.decay(),
                vth=self.magnitude(1 << 12),
                bias_exp=self.integer(0, 7),
            )
        return DeltaInputPopulation("in", shape, bits=self.integer(1, 24), **self.delta(1 << 12))

    def decay(self) -> int:
        return int(self.choose([0, 4095, self.integer(0, 4095), self.magnitude(4095)]))

    def delta(self, high: int) -> dict[str, Any]:
        spike_exp, state_exp = self.choose([0, self.integer(0, 7)]), self.choose([0, 0, 1, 6, 7])
        limit = min((1 << 24) - 1, (1 << 31 - spike_exp - state_exp) - 1)
        if self.extreme and self.chance(0.4):
            vth = self.choose([limit, (limit + 1) // 2])
        else:
            vth = self.magnitude(limit if self.wild and self.chance(0.3) else min(high, limit))
        return {
            "vth": vth,
            "spike_exp": spike_exp,
            "state_exp": state_exp,
            "cum_error": self.chance(0.5),
        }

    def population(self, name: str, shape: Shape) -> Population:
        start = self.integer(2, self.steps + 2) if self.chance(0.3) else 1
        kinds = ["lif", "lif", "sigma", "delta", "sigma_delta", "sigma_delta"]
        kind = "lif" if self.spiking else self.choose(kinds)
        if kind == "lif":
            silent = self.chance(0.2)
            return LIFPopulation(
                name,
                shape,
                du=self.decay(),
                dv=self.decay(),
                vth=131071 if silent else self.magnitude(131071),
                bias_mant=self.bias(shape, 4095),
                bias_exp=self.integer(0, 7),
                start_step=start,
                spiking=not silent,
            )
        if kind == "sigma":
            return SigmaPopulation(name, shape, start)
        if kind == "delta":
            return DeltaPopulation(name, shape, start_step=start, **self.delta(1 << 16))
        fields = self.delta(1 << 16)
        largest = ((1 << 31) - 1) >> (fields["spike_exp"] + fields["state_exp"])
        high = largest if self.wild and self.chance(0.2) else min(1 << 12, largest)
        return SigmaDeltaPopulation(
            name,
            shape,
            bias=self.bias(shape, high),
            activation=self.choose(["relu", "identity"]),
            start_step=start,
            **fields,
        )

    def bias(self, shape: Shape, high: int) -> NDArray[np.int32]:
        top = self.choose([0, self.magnitude(high), high])
        return self.ints(-top, top, shape)

    # projections

    def primary(self, name: str, source: Population, target: str) -> tuple[Projection, Shape]:
        """A projection that decides its target's shape."""
        if len(source.shape) == 3 and self.chance(0.2 if self.extreme else 0.55):
            conv = self.conv(name, source, target)
            return conv, conv.output_shape(source.shape)
        shape = self.shape()
        return self.matrix(name, source, target, shape, False), shape

    def between(
        self, name: str, source: Population, target: Population, recurrent: bool
    ) -> Projection:
        """A projection between populations that are there: a convolution where one fits."""
        likely = 0.2 if self.extreme else 0.7
        if len(source.shape) == len(target.shape) == 3 and self.chance(likely):
            for _ in range(20):
                conv = self.conv(name, source, target.name, target.shape[0], recurrent)
                if conv.output_shape(source.shape) == target.shape:
                    return conv
        return self.matrix(name, source, target.name, target.shape, recurrent)

    def conv(
        self,
        name: str,
        source: Population,
        target: str,
        channels: int | None = None,
        recurrent: bool = False,
    ) -> ConvProjection:
        """Every geometry, smaller than the padded source."""
        c_in, height, width = source.shape
        c_out = channels or self.integer(1, 3)
        groups = self.choose([g for g in (1, 2, 3) if c_in % g == 0 and c_out % g == 0])
        padding = (self.integer(0, 2), self.integer(0, 2))
        kernel, dilation = [], []
        for size, pad in zip((height, width), padding, strict=True):
            kernel.append(self.integer(1, min(3, size + 2 * pad)))
            room = (size + 2 * pad - 1) // max(1, kernel[-1] - 1)
            dilation.append(self.integer(1, max(1, min(3, room))))
        high = self.choose([3, 255, 2000 if self.wild else 255])
        return ConvProjection(
            name,
            source.name,
            target,
            self.ints(-high, high, (c_out, c_in // groups, *kernel)),
            stride=(self.integer(1, 3), self.integer(1, 3)),
            padding=padding,
            dilation=(dilation[0], dilation[1]),
            groups=groups,
            num_weight_bits=self.integer(1, 8),
            weight_exp=self.integer(0, 7) if self.wild else self.choose([0, 0, 1, 6]),
            recurrent=recurrent,
        )

    def matrix(
        self, name: str, source: Population, target: str, shape: Shape, recurrent: bool
    ) -> Projection:
        """Dense or sparse, with or without delays, in every weight format."""
        rows, columns = math.prod(shape), source.size
        low, high = self.choose([(-255, 255), (-400, 400), (0, 255), (-255, 0), (-20, 20), (0, 0)])
        exponent = self.integer(-8, 7) if self.wild else self.integer(-8, 3)
        if self.extreme:
            exponent = self.choose([-8, -1, 0, 5, 6, 7])
        fields: dict[str, Any] = {
            "weight_exp": exponent,
            "num_weight_bits": self.choose([8, self.integer(1, 8)]),
            "sign_mode": self.choose(SIGN_MODES),
            "recurrent": recurrent,
        }
        delayed = self.delay_limit and self.chance(0.5)
        if self.chance(0.55):
            weight = self.ints(low, high, (rows, columns))
            if delayed:
                fields["delays"] = self.ints(0, self.delay_limit, weight.shape)
            return DenseProjection(name, source.name, target, weight, **fields)
        kept = np.flatnonzero(self.rng.random(rows * columns) < self.choose([0.1, 0.5, 1.0]))
        chosen = self.rng.permutation(kept)
        if delayed:
            fields["delays"] = self.ints(0, self.delay_limit, chosen.shape)
        return SparseProjection(
            name,
            source.name,
            target,
            (chosen // columns).astype(np.int32),
            (chosen % columns).astype(np.int32),
            self.ints(low, high, chosen.shape),
            **fields,
        )

    # data

    def data(self, population: AnyInputPopulation) -> NDArray[np.int32]:
        low, high = population.min_value, population.max_value
        if isinstance(population, CurrentInputPopulation):
            return self.ints(low, high, (self.samples, *population.shape))
        shape = (self.steps, self.samples, *population.shape)
        sent = self.ints(low, high, shape)
        if self.chance(0.3):
            sent = np.where(self.rng.random(shape) < 0.3, sent, np.int32(high))
        share = self.choose([0.2, 0.6, 1.0])
        return np.where(self.rng.random(shape) < share, sent, np.int32(0))
