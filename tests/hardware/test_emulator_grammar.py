"""Random networks of the whole data model against a transcription of the equations.

The transcription is the specification's, sample by sample and step by step, in unbounded Python
integers that are wrapped to 32 bits wherever Lava holds int32.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neurokd.errors import NeurokdError
from neurokd.hardware.emulator import Engine, emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    DeltaPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection, SparseProjection
from neurokd.hardware.run import RECORDABLE

STEPS, SAMPLES = 9, 2
SEEDS = range(30, 70)
ENGINES: tuple[Engine, ...] = ("torch", "auto")
Integers = NDArray[Any]
"""Arrays of Python integers (object)."""


def int32(values: Any) -> Integers:
    return (np.asarray(values, dtype=object) + 2**31) % 2**32 - 2**31


def magnitude(values: Integers) -> Integers:
    return int32(abs(values))


def lif_step(p: Any, state: dict[str, Integers], a: Integers, bias: Integers) -> Integers:
    du = getattr(p, "du", 4095)
    u, v = state["u"], state["v"]
    y = int32(np.sign(u) * (abs(u) * (4095 - du) // 4096) + int32(a * 64))
    state["u"] = u = np.where(y > 2**23, y - 2**24, np.where(y <= -(2**23), y + 2**24, y))
    v = np.sign(v) * (abs(v) * (4096 - p.dv) // 4096) + u + bias
    v = np.clip(v, -(2**23) + 1, 2**23 - 1)
    spikes = v > p.vth * 64
    state["v"] = np.where(spikes, 0, v)
    return spikes.astype(int).astype(object)


def delta_step(p: Any, state: dict[str, Integers], y: Integers) -> Integers:
    threshold = p.vth * 2 ** (p.spike_exp + p.state_exp)
    delta = int32(y - state["act"] + state["residue"])
    judged = int32(state["error"] + delta) if p.cum_error else delta
    sent = np.where(magnitude(judged) >= threshold, delta, 0)
    if p.cum_error:
        state["error"] = np.where(magnitude(sent) > 0, 0, judged)
    state["residue"], state["act"] = int32(delta - sent), y
    return sent // 2**p.state_exp


def neuron_step(p: Population, state: dict[str, Integers], a: Integers) -> Integers:
    """Messages of a neuron population; ``state`` is brought one step on."""
    if isinstance(p, LIFPopulation):
        return lif_step(p, state, a, p.bias.reshape(-1).astype(object))
    if isinstance(p, DeltaPopulation | DeltaInputPopulation):
        return delta_step(p, state, int32(a * 2 ** (p.spike_exp + p.state_exp)))
    state["sigma"] = int32(state["sigma"] + a)
    if isinstance(p, SigmaPopulation):
        return state["sigma"]
    assert isinstance(p, SigmaDeltaPopulation)
    bias = p.bias.reshape(-1).astype(object) * 2 ** (p.spike_exp + p.state_exp)
    y = int32(state["sigma"] + bias)
    return delta_step(p, state, np.maximum(y, 0) if p.activation == "relu" else y)


def convolve(conv: ConvProjection, image: Integers, shape: tuple[int, ...]) -> Integers:
    weight = conv.weight.astype(object) * 2**conv.weight_exp
    out = np.zeros(shape, dtype=object)
    pads = [(0, 0), *((pad, pad) for pad in conv.padding)]
    padded = np.pad(image, pads, constant_values=0)
    per_group = weight.shape[1]
    for o, c, ky, kx in np.ndindex(weight.shape):
        channel = padded[o // (shape[0] // conv.groups) * per_group + c]
        seen = channel[ky * conv.dilation[0] :, kx * conv.dilation[1] :]
        seen = seen[:: conv.stride[0], :: conv.stride[1]][: shape[1], : shape[2]]
        out[o] += weight[o, c, ky, kx] * seen
    return (out + 2**23) % 2**24 - 2**23


def deliveries(p: Any, network: DeployedNetwork, messages: Integers) -> list[tuple[int, Integers]]:
    """(delay, a) of all that the messages of a step deliver."""
    source, target = network.population(p.source), network.population(p.target)
    if isinstance(p, ConvProjection):
        return [(0, convolve(p, messages.reshape(source.shape), target.shape).reshape(-1))]
    weight = np.zeros((target.size, source.size), dtype=object)
    delays = np.zeros(weight.shape, dtype=int)
    where: Any = (p.rows, p.columns) if isinstance(p, SparseProjection) else ...
    weight[where] = p.effective_weight
    if p.delays is not None:
        delays[where] = p.delays
    wide = isinstance(p, DenseProjection) and p.delays is not None
    found = []
    for delay in np.unique(delays):
        products = int32(np.where(delays == delay, weight, 0) * messages)
        sums = products.sum(axis=1) if wide else int32(products.sum(axis=1))
        shifted = sums * 2**p.weight_exp if p.weight_exp > 0 else sums // 2**-p.weight_exp
        found.append((int(delay), int32(shifted)))
    return found


def transcription(
    network: DeployedNetwork, x: Integers, steps: int
) -> dict[str, dict[str, NDArray[np.int64]]]:
    """All that can be recorded of one sample, (steps, neurons) by population and variable."""
    state = {
        p.name: {v: np.zeros(p.size, dtype=object) for v in p.variables}
        for p in network.populations
    }
    records: dict[str, dict[str, NDArray[np.int64]]] = {
        p.name: {v: np.zeros((steps, p.size), dtype=np.int64) for v in (*p.variables, "spikes")}
        for p in network.populations
    }
    arriving = {p.name: np.zeros((steps + 64, p.size), dtype=object) for p in network.populations}
    for t in range(steps):
        for p in network.populations:
            if t + 1 == getattr(p, "start_step", 1):
                state[p.name] = {v: np.zeros(p.size, dtype=object) for v in p.variables}
            if isinstance(p, InputPopulation):
                sent = x[t].reshape(-1)
            elif isinstance(p, CurrentInputPopulation):
                nothing = np.zeros(p.size, dtype=object)
                sent = lif_step(p, state[p.name], nothing, x.reshape(-1) * 2**p.bias_exp)
            elif isinstance(p, DeltaInputPopulation):
                sent = neuron_step(p, state[p.name], x[t].reshape(-1))
            else:
                sent = neuron_step(p, state[p.name], int32(arriving[p.name][t]))
            for variable, values in (state[p.name] | {"spikes": sent}).items():
                records[p.name][variable][t] = values.astype(np.int64)
            for q in network.outgoing(p.name):
                for delay, a in deliveries(q, network, sent):
                    arriving[q.target][t + 1 + delay] += a
    return records


# --- networks -------------------------------------------------------------------------------------


class Grammar:
    """Draws networks; ``extreme`` ones reach what wraps and saturates."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.extreme = bool(self.rng.random() < 0.4)

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def one_of(self, *choices: Any) -> Any:
        return choices[self.between(0, len(choices) - 1)]

    def exponents(self) -> tuple[int, int]:
        top = 7 if self.extreme else 2
        return self.between(0, top), self.between(0, top)

    def input(self) -> Any:
        size = self.between(3, 5)
        shape = self.one_of((self.between(1, 5),), (2, size, self.between(3, 5)))
        kind = self.between(0, 3)
        if kind == 0:
            return InputPopulation("in", shape)
        bits = 24 if self.extreme else self.between(2, 10)
        if kind == 1:
            return InputPopulation("in", shape, "graded", bits, signed=self.one_of(True, False))
        if kind == 2:
            return CurrentInputPopulation(
                "in", shape, self.between(0, 4095), self.between(0, 400), self.between(0, 7)
            )
        flag = self.one_of(True, False)
        return DeltaInputPopulation("in", shape, self.between(0, 60), *self.exponents(), flag, bits)

    def population(self, name: str, shape: tuple[int, ...]) -> Any:
        kind, start = self.between(0, 5), self.one_of(1, 1, 1, self.between(2, 5))
        if kind <= 2:
            bias = self.rng.integers(-4096, 4096, shape) >> self.between(0, 12)
            return LIFPopulation(
                name,
                shape,
                self.one_of(-1, 0, 1, 2000, 4094, 4095),
                self.one_of(0, 1, 2000, 4095, 4096),
                self.one_of(0, 10, 3000, 131071),
                bias,
                self.between(0, 7),
                start,
                self.one_of(True, True, False),
            )
        if kind == 3:
            return SigmaPopulation(name, shape, start)
        exponents, cum_error = self.exponents(), self.one_of(True, False)
        limit = (2**31 - 1) >> sum(exponents)
        vth = self.one_of(0, 1, 10, 300, limit)
        if kind == 4:
            return DeltaPopulation(name, shape, vth, *exponents, cum_error, start)
        bias = self.rng.integers(-limit, limit, shape) >> (0 if self.extreme else 20)
        activation = self.one_of("relu", "identity")
        return SigmaDeltaPopulation(
            name, shape, vth, bias, *exponents, cum_error, activation, start
        )

    def matrix(self, name: str, source: Any, target: Any, recurrent: bool = False) -> Any:
        options: dict[str, Any] = {
            "weight_exp": self.between(-8, 7),
            "num_weight_bits": self.one_of(8, 8, self.between(1, 7)),
            "sign_mode": self.one_of("mixed", "excitatory", "inhibitory"),
            "recurrent": recurrent,
        }
        shape = (target.size, source.size)
        delayed, furthest = self.one_of(True, False), self.between(1, 5)
        if self.one_of(True, False):
            delays = self.rng.integers(0, furthest + 1, shape) if delayed else None
            weight = self.rng.integers(-300, 300, shape)
            return DenseProjection(name, source.name, target.name, weight, delays=delays, **options)
        rows, columns = np.nonzero(self.rng.random(shape) < 0.6)
        delays = self.rng.integers(0, furthest + 1, len(rows)) if delayed else None
        weight = self.rng.integers(-300, 300, len(rows))
        return SparseProjection(
            name, source.name, target.name, rows, columns, weight, delays=delays, **options
        )

    def convolution(self, name: str, source: Any, target: str) -> ConvProjection:
        groups, outputs = self.one_of(1, 2), 2 * self.between(1, 2)
        kernel = (outputs, source.shape[0] // groups, self.between(1, 3), self.between(1, 3))
        return ConvProjection(
            name,
            source.name,
            target,
            self.rng.integers(-128, 128, kernel),
            stride=(self.between(1, 2), self.between(1, 2)),
            padding=(self.between(0, 1), self.between(0, 1)),
            dilation=(1, self.between(1, 2)),
            groups=groups,
            weight_exp=self.between(0, 7),
        )

    def network(self) -> DeployedNetwork:
        populations = [self.input()]
        projections: list[Any] = []
        for i in range(self.between(1, 4)):
            name, last = f"p{i}", populations[-1]
            shape: tuple[int, ...] = (self.between(1, 5),)
            arriving: list[Any] = []
            if len(last.shape) == 3 and self.one_of(True, True, False):
                conv = self.convolution(f"{last.name}-{name}", last, name)
                try:
                    shape, arriving = conv.output_shape(last.shape), [conv]
                except NeurokdError:
                    pass  # a kernel larger than its image: a matrix instead
            population = self.population(name, shape)
            if not arriving:
                arriving = [self.matrix(f"{last.name}-{name}", last, population)]
            other = populations[self.between(0, len(populations) - 1)]
            if other is not last:
                arriving.append(self.matrix(f"{other.name}-{name}", other, population))
            projections += arriving
            populations.append(population)
        for k in range(self.between(0, 2)):
            i, j = sorted(self.between(1, len(populations) - 1) for _ in range(2))
            projections.append(self.matrix(f"back{k}", populations[j], populations[i], True))
        return DeployedNetwork(
            tuple(populations), tuple(projections), populations[-1].name, "loihi2", steps=4
        )

    def data(self, population: Any) -> NDArray[np.int64]:
        low, high = population.min_value, population.max_value
        constant = isinstance(population, CurrentInputPopulation)
        shape = (SAMPLES, *population.shape) if constant else (STEPS, SAMPLES, *population.shape)
        if self.one_of(True, False, False):
            return np.where(self.rng.random(shape) < 0.5, low, high)
        return self.rng.integers(low, high + 1, shape)


def assert_equals_transcription(seed: int) -> set[str]:
    """Compare one network; the variables that left their range."""
    grammar = Grammar(seed)
    network = grammar.network()
    x = grammar.data(network.input)
    batch_size = grammar.between(1, 2)
    try:
        runs = [
            emulate(network, x, STEPS, RECORDABLE, batch_size, engine=engine) for engine in ENGINES
        ]
    except NeurokdError as error:
        # where a convolution leaves what Lava defines, there is nothing to compare
        assert "convolution" in str(error) or "exactly" in str(error)
        return {"refused"}
    constant = isinstance(network.input, CurrentInputPopulation)
    for sample in range(SAMPLES):
        own = (x[sample] if constant else x[:, sample]).astype(object)
        for name, variables in transcription(network, own, STEPS).items():
            for (engine, run), (variable, expected) in product(
                zip(ENGINES, runs, strict=True), variables.items()
            ):
                assert set(run.records[name]) == set(variables)
                found = run.records[name][variable][:, sample].reshape(expected.shape)
                message = f"seed {seed}, {engine}: {name}.{variable}"
                np.testing.assert_array_equal(found, expected, err_msg=message)
    first, second = runs
    assert first.overflows == second.overflows
    assert first.counts == second.counts
    return {overflow.variable for overflow in first.overflows}


def test_random_networks_equal_the_transcription() -> None:
    seen: set[str] = set()
    for seed in SEEDS:
        seen |= assert_equals_transcription(seed)
    # the comparison would say little if nothing ever wrapped
    assert seen >= {"a", "u", "v", "sigma", "act", "delta", "error"}


@pytest.mark.slow
def test_more_random_networks_equal_the_transcription() -> None:
    for seed in range(1000, 2000):
        assert_equals_transcription(seed)
