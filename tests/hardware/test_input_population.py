"""Input populations: their ranges, their integers, and what the emulator makes of their data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.errors import NeurokdError, ShapeMismatchError, UsageError
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    InputPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import DenseProjection


def network(source: Any, weight: int = 1) -> DeployedNetwork:
    """Each input neuron to a sigma neuron of its own."""
    identity = np.eye(source.size, dtype=np.int32) * weight
    return DeployedNetwork(
        (source, SigmaPopulation("out", (source.size,))),
        (DenseProjection("w", "in", "out", identity, sign_mode="excitatory"),),
        "out",
        "loihi2",
        steps=6,
    )


def current(shape: tuple[int, ...] = (2,), **options: Any) -> CurrentInputPopulation:
    return CurrentInputPopulation("in", shape, **({"dv": 0, "vth": 1, "bias_exp": 1} | options))


def test_a_constant_current_by_hand() -> None:
    # 30 << 1 = 60 a step, threshold 64: 60, 120 (spike), …; −7 << 1 sinks and never fires
    run = emulate(network(current()), np.array([[30, -7]]), 5, record=("u", "v", "spikes"))
    assert run.records["in"]["v"][:, 0].T.tolist() == [
        [60, 0, 60, 0, 60],
        [-14, -28, -42, -56, -70],
    ]
    assert run.records["in"]["spikes"][:, 0].T.tolist() == [[0, 1, 0, 1, 0], [0] * 5]
    assert not run.records["in"]["u"].any()
    assert run.output[:, 0, 0].tolist() == [0, 0, 1, 1, 2]  # a step later, summed
    assert run.counts.populations["in"].spikes == 2
    assert run.counts.populations["in"].neuron_updates == 2 * 5


def test_a_decaying_membrane_reaches_its_balance() -> None:
    # dv = 2048 halves v: 64, 96, 112, 120, 124, 126, 127, 127 (towards zero)
    run = emulate(network(current(dv=2048, vth=9)), np.array([[32, -32]]), 8, record=("v",))
    assert run.records["in"]["v"][:, 0, 0].tolist() == [64, 96, 112, 120, 124, 126, 127, 127]
    assert run.records["in"]["v"][:, 0, 1].tolist() == [
        -64,
        -96,
        -112,
        -120,
        -124,
        -126,
        -127,
        -127,
    ]


def test_a_constant_current_saturates() -> None:
    # 4095 << 7 = 524,160; after 16 steps 8,386,560, then clipped to 2²³ − 1 > 131071 << 6
    population = current((1,), vth=131071, bias_exp=7)
    run = emulate(network(population), np.array([[4095]]), 17, record=("v", "spikes"))
    assert run.records["in"]["v"][-2:].ravel().tolist() == [8_386_560, 0]
    assert run.records["in"]["spikes"].ravel().tolist() == [0] * 16 + [1]
    assert [(o.population, o.variable, o.step) for o in run.overflows] == [("in", "v", 17)]


def test_samples_have_their_own_current_in_every_batch() -> None:
    x = np.array([[30, 5], [-3, 40], [64, 64]])
    whole = emulate(network(current()), x, 9, record=("v",))
    parts = emulate(network(current()), x, 9, record=("v",), batch_size=2)
    np.testing.assert_array_equal(whole.records["in"]["v"], parts.records["in"]["v"])
    for sample in range(3):
        alone = emulate(network(current()), x[sample : sample + 1], 9)
        np.testing.assert_array_equal(alone.output[:, 0], whole.output[:, sample])


@pytest.mark.parametrize(
    ("x", "steps", "error", "message"),
    [
        (np.zeros((3, 2), dtype=int), None, UsageError, "steps must be given"),
        (np.zeros((3, 2), dtype=int), 0, UsageError, "steps must be given"),
        (np.zeros((5, 3, 2), dtype=int), 5, ShapeMismatchError, r"\(samples, 2\)"),
        (np.zeros((0, 2), dtype=int), 5, UsageError, "nothing to run"),
        (np.full((3, 2), 4096), 5, UsageError, "found 4096"),
        (np.full((3, 2), -4097), 5, UsageError, "found -4097"),
        (np.zeros((3, 2)), 5, UsageError, "integers"),
    ],
)
def test_currents_that_are_refused(x: Any, steps: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        emulate(network(current()), x, steps)


def delta(size: int = 1, **options: Any) -> DeltaInputPopulation:
    return DeltaInputPopulation("in", (size,), **({"vth": 0, "bits": 8} | options))


def test_changes_add_up_to_the_data() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-255, 256, (6, 3, 4))
    run = emulate(network(delta(4)), x, record=("spikes", "act"))
    np.testing.assert_array_equal(run.output[1:], x[:-1])
    np.testing.assert_array_equal(run.records["in"]["act"], x)
    np.testing.assert_array_equal(run.records["in"]["spikes"], np.diff(x, axis=0, prepend=0))


def test_small_changes_wait_for_the_threshold() -> None:
    x = np.array([2, 4, 5, 5, 3, -1]).reshape(6, 1, 1)
    run = emulate(network(delta(vth=5, spike_exp=1)), x, record=("spikes", "residue"))
    # in state units (·2): 4, 8, 10 ≥ 10 (sent), 0, −4, −12 (sent)
    assert run.records["in"]["spikes"].ravel().tolist() == [0, 0, 10, 0, 0, -12]
    assert run.records["in"]["residue"].ravel().tolist() == [4, 8, 0, 0, -4, 0]
    assert run.output.ravel().tolist() == [0, 0, 0, 10, 10, 10]


def test_the_largest_message_bounds_all() -> None:
    for spike_exp, state_exp, bits in [(0, 0, 8), (3, 2, 8), (7, 7, 24), (7, 0, 24), (0, 7, 24)]:
        population = delta(spike_exp=spike_exp, state_exp=state_exp, bits=bits)
        top = population.max_value
        x = np.array([top, -top, top, 1 << (bits - 1), -(1 << (bits - 1)), 0]).reshape(6, 1, 1)
        sent = emulate(network(population), x, record=("spikes",)).records["in"]["spikes"]
        assert abs(sent.astype(np.int64)).max() <= population.max_message
        if bits == 8:
            assert abs(sent.astype(np.int64)).max() == population.max_message == 510 << spike_exp


def test_signed_messages() -> None:
    population = InputPopulation("in", (1,), "graded", 4, signed=True)
    assert (population.min_value, population.max_value) == (-15, 15)
    x = np.array([-15, 15, -1]).reshape(3, 1, 1)
    assert emulate(network(population), x).output.ravel().tolist() == [0, -15, 0]
    with pytest.raises(UsageError, match="-15 … 15"):
        emulate(network(population), x - 1)
    unsigned = InputPopulation("in", (1,), "graded", 4)
    with pytest.raises(UsageError, match="0 … 15"):
        emulate(network(unsigned), x)


def test_encode_and_pad() -> None:
    net = network(current(scale=10.0, offset=0.5))
    encoded = net.encode(np.array([[1.0, -2.0]]))
    assert encoded.tolist() == [[10, -20]]  # 10.5 and −19.5 to even
    np.testing.assert_array_equal(net.padded(encoded), encoded)
    net = network(delta(2, scale=4.0))
    encoded = net.encode(np.array([[1.0, -2.0]]), steps=2)
    assert encoded.tolist() == [[[4, -8]]] * 2
    assert net.padded(encoded).tolist() == [[[4, -8]]] * 3  # the last value is held
    with pytest.raises(UsageError, match="cannot send"):
        net.encode(np.array([[64.0, 0.0]]))


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (InputPopulation, {"signed": True}),
        (InputPopulation, {"encoding": "graded", "bits": 25}),
        (CurrentInputPopulation, {"dv": 4097, "vth": 0}),
        (CurrentInputPopulation, {"dv": 0, "vth": 2**17}),
        (CurrentInputPopulation, {"dv": 0, "vth": 0, "bias_exp": 8}),
        (CurrentInputPopulation, {"dv": 0, "vth": 0, "scale": -1.0}),
        (CurrentInputPopulation, {"dv": 0, "vth": 0, "offset": float("nan")}),
        (DeltaInputPopulation, {"vth": -1}),
        (DeltaInputPopulation, {"vth": 2**31}),
        (DeltaInputPopulation, {"vth": 2**24, "spike_exp": 7}),
        (DeltaInputPopulation, {"vth": 0, "state_exp": 8}),
        (DeltaInputPopulation, {"vth": 0, "bits": 0}),
    ],
)
def test_refused(build: Any, options: Any) -> None:
    with pytest.raises(NeurokdError, match="population 'x'"):
        build("x", (3,), **options)
