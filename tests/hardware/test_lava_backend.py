"""Real Lava against the emulator, step by step, and against runs worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neurokd.errors import (
    BackendUnavailableError,
    CapacityError,
    NeurokdError,
    ShapeMismatchError,
    UsageError,
)
from neurokd.hardware.emulator import emulate
from neurokd.hardware.lava_backend import simulate_lava
from neurokd.hardware.lava_process import LavaWorker
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation, Population
from neurokd.hardware.projection import ConvProjection, DenseProjection, Projection
from neurokd.hardware.run import Run

ALL = ("u", "v", "spikes")
Rng = np.random.Generator


def lif(rng: Rng, name: str, shape: tuple[int, ...], **fields: Any) -> LIFPopulation:
    defaults: dict[str, Any] = {
        "du": int(rng.integers(0, 4096)),
        "dv": int(rng.integers(0, 2048)),
        "vth": int(rng.integers(50, 400)),
        "bias_mant": rng.integers(-300, 600, shape).astype(np.int32),
        "bias_exp": int(rng.integers(0, 4)),
    }
    return LIFPopulation(name, shape, **(defaults | fields))


def weights(rng: Rng, *shape: int, low: int = -300, high: int = 300) -> NDArray[np.int32]:
    return rng.integers(low, high, shape).astype(np.int32)


def network(
    populations: list[Population], projections: list[Projection], output: str = "out"
) -> DeployedNetwork:
    return DeployedNetwork(tuple(populations), tuple(projections), output, "loihi2", 4)


def dense_net(rng: Rng) -> DeployedNetwork:
    """Every sign mode, odd weights, few weight bits, exponents of both signs, image shapes."""
    return network(
        [
            InputPopulation("in", (2, 3, 4)),
            lif(rng, "image", (3, 2, 5)),
            lif(rng, "flat", (7,)),
            lif(rng, "square", (2, 3)),
            lif(rng, "out", (4,)),
        ],
        [
            DenseProjection("a", "in", "image", weights(rng, 30, 24), weight_exp=-2),
            DenseProjection("b", "image", "flat", weights(rng, 7, 30), 3, 5, "excitatory"),
            DenseProjection("c", "flat", "square", weights(rng, 6, 7), 1, 3, "mixed"),
            DenseProjection("d", "square", "out", weights(rng, 4, 6), 0, 6, "inhibitory"),
        ],
    )


def conv_net(rng: Rng) -> DeployedNetwork:
    """No two sizes alike: kernels, strides, padding, dilation and groups differ by axis."""
    return network(
        [
            InputPopulation("in", (2, 11, 8)),
            lif(rng, "c1", (4, 6, 9)),
            lif(rng, "c2", (6, 6, 3)),
            lif(rng, "out", (5,), vth=131071, spiking=False),
        ],
        [
            ConvProjection("k1", "in", "c1", weights(rng, 4, 2, 3, 2), (2, 1), (1, 1)),
            ConvProjection("k2", "c1", "c2", weights(rng, 6, 2, 1, 3), (1, 2), (0, 0), (1, 2), 2),
            DenseProjection("d", "c2", "out", weights(rng, 5, 108)),
        ],
    )


def joined_net(rng: Rng) -> DeployedNetwork:
    """Two projections into one population, of either kind."""
    return network(
        [
            InputPopulation("in", (1, 5, 6)),
            lif(rng, "left", (2, 5, 6)),
            lif(rng, "right", (9,)),
            lif(rng, "out", (3, 4, 5)),
        ],
        [
            ConvProjection("kl", "in", "left", weights(rng, 2, 1, 3, 3), padding=(1, 1)),
            DenseProjection("dr", "in", "right", weights(rng, 9, 30)),
            ConvProjection("ko", "left", "out", weights(rng, 3, 2, 2, 2)),
            DenseProjection("do", "right", "out", weights(rng, 60, 9), weight_exp=2),
        ],
    )


def graded_net(rng: Rng) -> DeployedNetwork:
    """8-bit messages into both kinds of synapse."""
    return network(
        [
            InputPopulation("in", (1, 4, 3), "graded", bits=8),
            lif(rng, "c", (2, 4, 3), vth=20000),
            lif(rng, "d", (5,), vth=20000),
            lif(rng, "out", (3,)),
        ],
        [
            ConvProjection("k", "in", "c", weights(rng, 2, 1, 3, 3), padding=(1, 1)),
            DenseProjection("e", "in", "d", weights(rng, 5, 12)),
            DenseProjection("f", "c", "out", weights(rng, 3, 24)),
            DenseProjection("g", "d", "out", weights(rng, 3, 5)),
        ],
    )


def extreme_net(rng: Rng) -> DeployedNetwork:
    """Sums that wrap at 24 bits, u that wraps, v that saturates on either side."""
    huge = {"bias_exp": 7, "dv": 0, "du": 0, "vth": 131071}
    return network(
        [
            InputPopulation("in", (1, 6, 5), "graded", bits=8),
            lif(rng, "c", (2, 6, 5), **huge),
            lif(rng, "d", (8,), **huge, bias_mant=np.array([-4096, 4095] * 4)),
            lif(rng, "out", (6,), **huge),
        ],
        [
            ConvProjection(
                "k", "in", "c", weights(rng, 2, 1, 3, 3, low=-40000, high=40000), padding=(1, 1)
            ),
            DenseProjection("e", "in", "d", weights(rng, 8, 30), weight_exp=5),
            DenseProjection("f", "c", "out", weights(rng, 6, 60), weight_exp=7),
            DenseProjection("g", "d", "out", weights(rng, 6, 8), weight_exp=7),
        ],
    )


def started_net(rng: Rng) -> DeployedNetwork:
    """Biased populations that begin when their first input arrives, later, or never here."""
    bias = {"bias_exp": 5, "du": 500, "dv": 100}
    return network(
        [
            InputPopulation("in", (6,)),
            lif(rng, "a", (8,), start_step=2, **bias),
            lif(rng, "b", (5,), start_step=3, **bias),
            lif(rng, "c", (5,), start_step=6, **bias),
            lif(rng, "out", (3,), start_step=50, **bias),
        ],
        [
            DenseProjection("p", "in", "a", weights(rng, 8, 6)),
            DenseProjection("q", "a", "b", weights(rng, 5, 8)),
            DenseProjection("r", "b", "c", weights(rng, 5, 5)),
            DenseProjection("s", "c", "out", weights(rng, 3, 5)),
        ],
    )


def messages(rng: Rng, net: DeployedNetwork, steps: int = 6, samples: int = 3) -> NDArray[np.int32]:
    shape = (steps, samples, *net.input.shape)
    sent = rng.integers(1, net.input.max_message + 1, shape)
    return (sent * (rng.random(shape) < 0.4)).astype(np.int32)


def assert_identical(lava: Run, other: Run) -> None:
    """Every recorded integer of every step, the outputs and the counts."""
    assert list(lava.records) == list(other.records)
    for name, variables in other.records.items():
        assert set(lava.records[name]) == set(variables)
        for variable, expected in variables.items():
            found = lava.records[name][variable]
            assert found.dtype == np.int32
            np.testing.assert_array_equal(found, expected, err_msg=f"{name} {variable}")
    np.testing.assert_array_equal(lava.output, other.output)
    assert lava.counts == other.counts
    assert lava.depths == other.depths
    assert lava.output_is_spikes == other.output_is_spikes


@pytest.mark.lava
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "make", [dense_net, conv_net, joined_net, graded_net, extreme_net, started_net]
)
def test_every_integer_of_every_step_is_the_emulators(
    make: Callable[[Rng], DeployedNetwork], seed: int, lava_worker: LavaWorker
) -> None:
    rng = np.random.default_rng(seed)
    net = make(rng)
    x = messages(rng, net)
    lava = simulate_lava(net, x, record=ALL, worker=lava_worker)
    assert lava.backend == "lava"
    assert_identical(lava, emulate(net, x, record=ALL))


def test_the_extreme_net_leaves_every_range() -> None:
    """Else the comparison above would not test what it says."""
    rng = np.random.default_rng(0)
    net = extreme_net(rng)
    run = emulate(net, messages(rng, net), record=ALL)
    assert {o.variable for o in run.overflows} == {"a", "u", "v"}
    assert np.abs(run.records["d"]["v"]).max() == (1 << 23) - 1
    assert run.records["out"]["v"].min() == -(1 << 23) + 1


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
@pytest.mark.parametrize(
    "make", [dense_net, conv_net, joined_net, graded_net, extreme_net, started_net]
)
def test_more_random_networks(
    make: Callable[[Rng], DeployedNetwork], seed: int, lava_worker: LavaWorker
) -> None:
    rng = np.random.default_rng(seed)
    net = make(rng)
    x = messages(rng, net, steps=12, samples=4)
    lava = simulate_lava(net, x, record=ALL, worker=lava_worker)
    assert_identical(lava, emulate(net, x, record=ALL))


def relay(weight: int = 100, depth: int = 2, **fields: Any) -> DeployedNetwork:
    """A chain of single neurons that spike at every input: u = weight · 64 > 64."""
    names = ["in", *(f"n{i + 1}" for i in range(depth))]
    neuron: dict[str, Any] = {"du": 4095, "dv": 4095, "vth": 1} | fields
    bias = np.zeros(1, dtype=np.int32)
    return network(
        [InputPopulation("in", (1,))]
        + [LIFPopulation(n, (1,), bias_mant=bias, **neuron) for n in names[1:]],
        [
            DenseProjection(f"{a}-{b}", a, b, np.array([[weight]], dtype=np.int32))
            for a, b in zip(names, names[1:], strict=False)
        ],
        output=names[-1],
    )


@pytest.mark.lava
def test_an_input_spike_at_step_2_gives_spikes_at_3_and_4(lava_worker: LavaWorker) -> None:
    x = np.zeros((5, 1, 1), dtype=np.int32)
    x[1] = 1
    run = simulate_lava(relay(), x, record=ALL, worker=lava_worker)
    assert run.records["n1"]["spikes"].ravel().tolist() == [0, 0, 1, 0, 0]
    assert run.records["n2"]["spikes"].ravel().tolist() == [0, 0, 0, 1, 0]
    assert run.records["n1"]["u"].ravel().tolist() == [0, 0, 6400, 0, 0]
    assert run.records["n1"]["v"].ravel().tolist() == [0, 0, 0, 0, 0]
    assert run.output.ravel().tolist() == [0, 0, 0, 1, 0]
    assert run.depths == {"in": 0, "n1": 1, "n2": 2}
    assert run.counts.populations["n1"].spikes == 1
    assert run.counts.populations["in"].spikes == 1
    assert run.counts.populations["n2"].neuron_updates == 5
    assert run.counts.projections["n1-n2"].synaptic_operations == 1


@pytest.mark.lava
def test_nothing_of_a_sample_reaches_the_next(lava_worker: LavaWorker) -> None:
    """A spike in flight at the end, and u and v that decay slowly, are gone by then."""
    net = relay(du=0, dv=0, vth=131071)
    x = np.zeros((3, 2, 1), dtype=np.int32)
    x[:, 0] = 1
    run = simulate_lava(net, x, record=ALL, worker=lava_worker)
    assert run.records["n1"]["u"][2, 0] != 0
    for variable in ALL:
        assert not run.records["n1"][variable][:, 1].any()


@pytest.mark.lava
def test_only_what_is_asked_for_is_recorded(lava_worker: LavaWorker) -> None:
    x = np.ones((4, 1, 1), dtype=np.int32)
    run = simulate_lava(relay(), x, worker=lava_worker)
    assert run.records == {}
    assert run.output.ravel().tolist() == [0, 0, 1, 1]
    only_u = simulate_lava(relay(), x, record=("u",), worker=lava_worker)
    assert {name: set(r) for name, r in only_u.records.items()} == {"n1": {"u"}, "n2": {"u"}}
    assert only_u.counts == run.counts


@pytest.mark.lava
def test_progress_counts_samples(lava_worker: LavaWorker) -> None:
    net = dense_net(np.random.default_rng(0))
    seen: list[tuple[int, int]] = []
    x = messages(np.random.default_rng(1), net, steps=8, samples=40)
    simulate_lava(
        net, x, worker=lava_worker, progress=lambda done, total: seen.append((done, total))
    )
    assert seen and seen == sorted(set(seen))
    assert all(0 < done <= 40 and total == 40 for done, total in seen)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": np.ones((4, 1, 2), dtype=np.int32)}, ShapeMismatchError, r"samples, 1\)"),
        ({"x": np.ones((4, 1), dtype=np.int32)}, UsageError, r"\(4, 1\)"),
        ({"x": np.ones((4, 1, 1))}, UsageError, "float64"),
        ({"x": np.full((4, 1, 1), 2)}, UsageError, "found 2"),
        ({"x": np.full((4, 1, 1), -1)}, UsageError, "found -1"),
        ({"x": np.ones((4, 0, 1), dtype=np.int32)}, UsageError, "nothing to run"),
        ({"steps": 5}, UsageError, "expected 4.*found 5"),
        ({"record": ("w",)}, UsageError, "u, v, .*spikes"),
        ({"record": "u"}, UsageError, "collection"),
        ({"record": None}, UsageError, "collection"),
        ({"time_limit_s": 0}, UsageError, "time limit"),
        ({"time_limit_s": float("nan")}, UsageError, "time limit"),
    ],
)
def test_input_that_makes_no_sense_is_refused_before_lava_starts(
    change: dict[str, Any], error: type[NeurokdError], words: str
) -> None:
    arguments: dict[str, Any] = {"x": np.ones((4, 1, 1), dtype=np.int32)} | change
    with pytest.raises(error, match=words):
        simulate_lava(relay(), **arguments)


def test_a_geometry_beyond_a_byte_is_refused() -> None:
    rng = np.random.default_rng(0)
    net = network(
        [InputPopulation("in", (1, 1, 200)), lif(rng, "out", (1, 1, 2))],
        [ConvProjection("k", "in", "out", weights(rng, 1, 1, 1, 1), stride=(1, 150))],
    )
    with pytest.raises(CapacityError, match="projection 'k'.*127.*150"):
        simulate_lava(net, np.ones((2, 1, 1, 1, 200), dtype=np.int32))


def test_without_lava_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROKD_LAVA_PYTHON", "/nowhere/python")
    with pytest.raises(BackendUnavailableError, match="/nowhere/python.*neurokd lava install"):
        simulate_lava(relay(), np.ones((2, 1, 1), dtype=np.int32))
