"""The emulator against a plain numpy reference that walks through chip time one step at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokd.errors import (
    BackendUnavailableError,
    CapacityError,
    ShapeMismatchError,
    UsageError,
)
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection
from neurokd.hardware.run import Run

ALL = ("u", "v", "spikes")


def int32(values: Any) -> Any:
    return (np.asarray(values, dtype=object) + 2**31) % 2**32 - 2**31


def reference_sum(projection: Any, messages: np.ndarray, target_shape: tuple[int, ...]) -> Any:
    """What one sample's messages of one step deliver; unbounded Python integers, plain loops."""
    weight = projection.weight.astype(object)
    if isinstance(projection, DenseProjection):
        sums = int32(projection.effective_weight.astype(object) @ messages.reshape(-1))
        exponent = projection.weight_exp
        shifted = sums * 2**exponent if exponent > 0 else sums // 2 ** (-exponent)
        return int32(shifted).reshape(target_shape)
    out = np.zeros(target_shape, dtype=object)
    (stride_y, stride_x), (pad_y, pad_x) = projection.stride, projection.padding
    (dil_y, dil_x), per_group = projection.dilation, weight.shape[1]
    outs_per_group = weight.shape[0] // projection.groups
    for o, y, x in np.ndindex(target_shape):
        for c, ky, kx in np.ndindex(weight.shape[1:]):
            row = y * stride_y - pad_y + ky * dil_y
            column = x * stride_x - pad_x + kx * dil_x
            if 0 <= row < messages.shape[1] and 0 <= column < messages.shape[2]:
                channel = (o // outs_per_group) * per_group + c
                out[o, y, x] += weight[o, c, ky, kx] * messages[channel, row, column]
    return (out + 2**23) % 2**24 - 2**23


def reference(network: DeployedNetwork, x: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """u, v and spikes of every neuron population, sample by sample, step by step, in int64."""
    steps, samples = x.shape[:2]
    neurons = [p for p in network.populations if isinstance(p, LIFPopulation)]
    records = {
        p.name: {v: np.zeros((steps, samples, *p.shape), dtype=np.int64) for v in ALL}
        for p in neurons
    }
    for sample in range(samples):
        u = {p.name: np.zeros(p.shape, dtype=object) for p in neurons}
        v = {p.name: np.zeros(p.shape, dtype=object) for p in neurons}
        buffers = {
            p.name: np.zeros(network.population(p.target).shape, dtype=object)
            for p in network.projections
        }
        for t in range(steps):
            sent = {network.input.name: x[t, sample].astype(object)}
            for p in neurons:
                if t + 1 == p.start_step:
                    u[p.name], v[p.name] = u[p.name] * 0, v[p.name] * 0
                a = int32(sum(buffers[q.name] for q in network.incoming(p.name)))
                kept = np.sign(u[p.name]) * (abs(u[p.name]) * (4095 - p.du) // 4096)
                y = int32(kept + int32(a * 64))
                y = np.where(y > 2**23, y - 2**24, np.where(y <= -(2**23), y + 2**24, y))
                kept = np.sign(v[p.name]) * (abs(v[p.name]) * (4096 - p.dv) // 4096)
                total = np.clip(kept + y + p.bias.astype(object), -(2**23) + 1, 2**23 - 1)
                spikes = total > p.vth * 64
                u[p.name], v[p.name] = y, np.where(spikes, 0, total)
                sent[p.name] = spikes.astype(object)
                for name, values in (("u", y), ("v", v[p.name]), ("spikes", spikes)):
                    records[p.name][name][t, sample] = values.astype(np.int64)
            for q in network.projections:
                shape = network.population(q.target).shape
                buffers[q.name] = reference_sum(q, sent[q.source], shape)
    return records


def assert_same(network: DeployedNetwork, x: np.ndarray, **options: Any) -> Run:
    run = emulate(network, x, record=ALL, **options)
    for name, variables in reference(network, x).items():
        for variable, values in variables.items():
            found = run.records[name][variable]
            assert found.dtype == np.int32
            np.testing.assert_array_equal(found, values, err_msg=f"{name}.{variable}")
    return run


def lif(name: str, shape: tuple[int, ...], **options: Any) -> LIFPopulation:
    defaults: dict[str, Any] = {
        "du": 4095,
        "dv": 0,
        "vth": 10,
        "bias_mant": np.zeros(shape, dtype=np.int32),
    }
    return LIFPopulation(name, shape, **(defaults | options))


def network(populations: list[Any], projections: list[Any], output: str = "out") -> DeployedNetwork:
    return DeployedNetwork(tuple(populations), tuple(projections), output, "loihi2", steps=4)


def chain(
    weight: list[list[int]], *, bits: int = 1, projection: Any = None, **options: Any
) -> DeployedNetwork:
    """One dense projection of ``weight`` from an input to an output population."""
    matrix = np.array(weight)
    encoding: Any = "graded" if bits > 1 else "spikes"
    return network(
        [
            InputPopulation("in", (matrix.shape[1],), encoding, bits),
            lif("out", (matrix.shape[0],), **options),
        ],
        [DenseProjection("w", "in", "out", matrix, **(projection or {}))],
    )


def mixed_network(rng: np.random.Generator, **options: Any) -> DeployedNetwork:
    """Two convolutions (stride, padding, dilation, groups, not square), then two dense paths."""
    first, second = (4, 4, 3), (6, 3, 4)
    return network(
        [
            InputPopulation("in", (2, 7, 8), "graded", 8),
            lif("a", first, du=1000, dv=300, vth=900, bias_mant=rng.integers(-99, 99, first)),
            lif("b", second, du=4095, dv=4095, vth=3, start_step=3),
            lif("c", (5,), du=0, dv=7, vth=60, bias_mant=rng.integers(-9, 9, 5), bias_exp=3),
            lif("d", (6,), du=2048, dv=0, vth=20),
            lif("out", (3,), vth=131071, spiking=False, **options),
        ],
        [
            ConvProjection(
                "ia",
                "in",
                "a",
                rng.integers(-128, 128, (4, 2, 3, 2)),
                stride=(2, 3),
                padding=(1, 1),
                dilation=(1, 2),
            ),
            ConvProjection(
                "ab", "a", "b", rng.integers(-9, 9, (6, 2, 2, 2)), padding=(0, 1), groups=2
            ),
            DenseProjection("bc", "b", "c", rng.integers(-256, 256, (5, 72)), weight_exp=-3),
            DenseProjection("bd", "b", "d", rng.integers(-256, 256, (6, 72)), num_weight_bits=4),
            DenseProjection("cout", "c", "out", rng.integers(-256, 256, (3, 5)), weight_exp=4),
            DenseProjection("dout", "d", "out", rng.integers(-256, 256, (3, 6)), weight_exp=-1),
        ],
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_whole_network_equals_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = mixed_network(rng)
    x = rng.integers(0, 256, (9, 3, 2, 7, 8))
    run = assert_same(net, x)
    # The comparison would be empty if nothing fired.
    for name in "abcd":
        rate = run.records[name]["spikes"].mean()
        assert 0 < rate < 1, name
    np.testing.assert_array_equal(run.output, run.records["out"]["v"])


def test_batches_do_not_change_the_result() -> None:
    rng = np.random.default_rng(3)
    net = mixed_network(rng)
    x = rng.integers(0, 256, (8, 5, 2, 7, 8))
    whole, parts = emulate(net, x, record=ALL), emulate(net, x, record=ALL, batch_size=2)
    for name, variables in whole.records.items():
        for variable, values in variables.items():
            np.testing.assert_array_equal(values, parts.records[name][variable])
    np.testing.assert_array_equal(whole.output, parts.output)
    assert whole.counts == parts.counts
    assert whole.overflows == parts.overflows


def test_a_spike_takes_one_step_per_projection() -> None:
    """An input spike at step 2 gives spikes at 3 and 4 in a chain of two."""
    net = network(
        [InputPopulation("in", (1,)), lif("a", (1,)), lif("out", (1,))],
        [
            DenseProjection("1", "in", "a", np.array([[20]])),
            DenseProjection("2", "a", "out", np.array([[20]])),
        ],
    )
    x = np.zeros((5, 1, 1), dtype=np.int32)
    x[1] = 1
    run = emulate(net, x, record=("spikes",))
    assert run.records["in"]["spikes"].ravel().tolist() == [0, 1, 0, 0, 0]
    assert run.records["a"]["spikes"].ravel().tolist() == [0, 0, 1, 0, 0]
    assert run.output.ravel().tolist() == [0, 0, 0, 1, 0]
    assert run.output_is_spikes
    assert (net.depth("a"), net.latency) == (1, 2)
    assert run.aligned("a")["spikes"].ravel().tolist() == [0, 1, 0, 0]


def test_the_membrane_by_hand() -> None:
    # weight 4, one spike a step: a = 4, u = 256; dv = 2048 halves v; threshold 7 << 6 = 448.
    net = chain([[4]], dv=2048, vth=7)
    run = emulate(net, np.ones((6, 1, 1), dtype=np.uint8), record=ALL)
    assert run.records["out"]["u"].ravel().tolist() == [0, 256, 256, 256, 256, 256]
    # 256, 384, 448 (a tie: no spike), 224 + 256 = 480 > 448: spike and reset, 256.
    assert run.records["out"]["v"].ravel().tolist() == [0, 256, 384, 448, 0, 256]
    assert run.output.ravel().tolist() == [0, 0, 0, 0, 1, 0]


def test_decays_at_both_ends_of_their_range() -> None:
    # du = −1 keeps all of u, dv = 4096 nothing of v: v is u, the sum of all that arrived
    net = chain([[-4]], du=-1, dv=4096, vth=1 << 17, spiking=False)
    run = assert_same(net, np.ones((5, 2, 1), dtype=np.int32))
    assert run.records["out"]["u"][:, 0, 0].tolist() == [0, -256, -512, -768, -1024]
    np.testing.assert_array_equal(run.output, run.records["out"]["u"])


@pytest.mark.parametrize(
    ("exponent", "a"), [(-1, -2), (-2, -1), (0, -4), (3, -32)], ids=["/2", "/4", "1", "*8"]
)
def test_weight_exponents_floor(exponent: int, a: int) -> None:
    # Stored weight -3 has mixed sign: (-3 >> 1) << 1 = -4.
    net = chain([[-3]], projection={"weight_exp": exponent})
    run = emulate(net, np.ones((2, 1, 1), dtype=np.int32), record=("u",))
    assert run.records["out"]["u"].ravel().tolist() == [0, a * 64]


def test_a_negative_exponent_floors_the_sum_not_each_weight() -> None:
    net = chain([[2, 2, -8]], projection={"weight_exp": -3})
    x = np.array([[[1, 1, 0]], [[0, 0, 1]], [[1, 0, 1]], [[0, 0, 0]]])
    run = emulate(net, x, record=("u",))
    # 4 >> 3 = 0, -8 >> 3 = -1, -6 >> 3 = -1 (floor)
    assert (run.records["out"]["u"].ravel() // 64).tolist() == [0, 0, -1, -1]


def test_an_inhibitory_weight_is_truncated_towards_zero() -> None:
    # 6 bits: the lowest two go; as a magnitude 255 becomes 252.
    net = chain([[-255]], projection={"sign_mode": "inhibitory", "num_weight_bits": 6})
    run = emulate(net, np.ones((2, 1, 1), dtype=np.int32), record=("u",))
    assert run.records["out"]["u"].ravel().tolist() == [0, -252 * 64]


def test_current_wrap_follows_lava_and_is_reported() -> None:
    # a = 254 · 32 · 128 = 1,040,384: u = 66,584,576 - 2^24 = 49,807,360; v saturates.
    net = chain([[254]], bits=6, projection={"weight_exp": 7}, vth=131071)
    run = assert_same(net, np.array([[[32], [0]], [[0], [32]], [[0], [0]]]))
    assert run.records["out"]["u"][:, 0, 0].tolist() == [0, 49_807_360, 0]
    found = [(o.population, o.variable, o.step, o.neurons) for o in run.overflows]
    # Each sample wraps in its own step: (sample, neuron) pairs.
    assert found == [("out", v, step, 1) for step in (2, 3) for v in ("u", "v")]


def test_a_dense_sum_beyond_32_bits_wraps_as_in_lava() -> None:
    net = chain([[254, -256]], bits=24, projection={"weight_exp": 7}, vth=131071, du=17)
    big = 2**24 - 1
    x = np.array([[[big, 0], [0, big]], [[big, 1], [7, 5]], [[0, 0], [1, 0]]])
    run = assert_same(net, x)
    # 254 (2^24 - 1) 2^7 needs 39 bits: reported although u looks harmless afterwards.
    assert {o.variable for o in run.overflows if o.step == 2} == {"a"}
    net = chain([[254, 254, 254]], bits=24, projection={"weight_exp": -2}, vth=131071)
    run = assert_same(net, np.full((3, 1, 3), big))
    assert [(o.step, o.neurons) for o in run.overflows if o.variable == "a"] == [(2, 1), (3, 1)]


def test_two_ports_whose_sum_leaves_32_bits() -> None:
    projections = [
        DenseProjection(str(i), "in", "out", np.array([[254]]), weight_exp=2) for i in range(3)
    ]
    net = network([InputPopulation("in", (1,), "graded", 20), lif("out", (1,))], projections)
    run = assert_same(net, np.full((2, 2, 1), 2**20 - 1))
    first = run.overflows[0]
    assert (first.variable, first.step, first.neurons) == ("a", 2, 2)


def test_a_convolution_wraps_at_24_bits() -> None:
    net = network(
        [InputPopulation("in", (1, 2, 2), "graded", 16), lif("out", (1, 1, 1), vth=131071)],
        [ConvProjection("c", "in", "out", np.array([[[[100, 27], [1, 0]]]]))],
    )
    # 127 · 65535 + 65535 = 8,388,480 < 2^23; with 70 more messages of weight 1 it is not.
    x = np.zeros((3, 1, 1, 2, 2), dtype=np.int64)
    x[0] = 65535
    x[1] = 65535
    x[1, 0, 0, 0, 1] = 65535
    run = assert_same(net, x)
    assert not [o for o in run.overflows if o.variable == "a"]
    heavier = network(
        [net.input, lif("out", (1, 1, 1), vth=131071)],
        [ConvProjection("c", "in", "out", np.array([[[[100, 28], [1, 0]]]]))],
    )
    run = assert_same(heavier, x)
    assert [o.step for o in run.overflows if o.variable == "a"] == [2, 3]


def test_sums_beyond_float32_are_still_exact() -> None:
    """2^24 + 1 is the first integer float32 cannot hold."""
    net = chain([[254, 2]], bits=17, vth=131071)
    assert_same(net, np.array([[[131071, 131071]], [[66052, 0]], [[66051, 127]], [[0, 0]]]))
    net = network(
        [InputPopulation("in", (1, 1, 2), "graded", 17), lif("out", (1, 1, 1), vth=131071)],
        [ConvProjection("c", "in", "out", np.array([[[[255, 1]]]]))],
    )
    assert_same(net, np.array([65793, 2]).reshape(1, 1, 1, 1, 2).repeat(3, axis=0))


def test_a_convolution_beyond_lavas_definition_is_refused() -> None:
    net = network(
        [InputPopulation("in", (1, 1, 1), "graded", 24), lif("out", (1, 1, 1))],
        [ConvProjection("c", "in", "out", np.array([[[[1000]]]]))],
    )
    x = np.full((2, 1, 1, 1, 1), 2**24 - 1)
    with pytest.raises(CapacityError, match="projection 'c'"):
        emulate(net, x)
    assert_same(net, x // 1000)  # the same network with smaller messages is computed


def test_no_exact_arithmetic_is_a_typed_error() -> None:
    weight = np.full((1, 1, 1, 1), 2**31 - 1)
    # 2^31 · 2^24 needs 55 bits, which Lava's own convolution, in float64, rounds
    net = network(
        [InputPopulation("in", (1, 1, 1), "graded", 24), lif("out", (1, 1, 1))],
        [ConvProjection("c", "in", "out", weight)],
    )
    with pytest.raises(CapacityError, match=r"2\^53"):
        emulate(net, np.full((2, 1, 1, 1, 1), 2**24 - 1))
    # what the messages really are is what the bound is taken from
    assert emulate(net, np.zeros((2, 1, 1, 1, 1), dtype=np.int32)).counts.spikes == 0


def test_an_accumulator_that_reaches_its_threshold_is_reported() -> None:
    # each step adds 1 << 6 to v; the fourth arrival exceeds a threshold of 3 << 6
    source = InputPopulation("in", (1,))
    readout = lif("out", (1,), dv=0, vth=3, spiking=False)
    net = network([source, readout], [DenseProjection("w", "in", "out", [[2]], weight_exp=-1)])
    run = emulate(net, np.ones((6, 1, 1), dtype=np.int32))
    assert run.output.ravel().tolist() == [0, 64, 128, 192, 0, 64]
    events = [(event.population, event.variable, event.step) for event in run.overflows]
    assert events == [("out", "threshold", 5)]


def test_start_step_forgets_what_came_before() -> None:
    bias = np.array([5, -5])
    late = chain([[2], [2]], bias_mant=bias, start_step=4, dv=100, du=50, vth=131071)
    x = np.ones((7, 2, 1), dtype=np.int32)
    run = assert_same(late, x)
    # On entering step 4 u = v = 0; then a = 2: u = 128, v = 128 ± 5.
    assert run.records["out"]["u"][3, 0].tolist() == [128, 128]
    assert run.records["out"]["v"][3, 0].tolist() == [133, 123]
    assert run.records["out"]["v"][0, 0].tolist() == [5, -5]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_small_networks(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    draw = data.draw
    bits = draw(st.sampled_from([1, 8, 20]))
    options = {
        "du": draw(st.sampled_from([0, 1, 2047, 4094, 4095])),
        "dv": draw(st.sampled_from([0, 1, 2048, 4095])),
        "vth": draw(st.sampled_from([0, 5, 3000, 131071])),
        "bias_mant": rng.integers(-4096, 4096, 2),
        "bias_exp": draw(st.integers(0, 7)),
        "start_step": draw(st.integers(1, 5)),
    }
    projection = {
        "weight_exp": draw(st.integers(-8, 7)),
        "num_weight_bits": draw(st.integers(1, 8)),
        "sign_mode": draw(st.sampled_from(["mixed", "excitatory", "inhibitory"])),
    }
    weight = rng.integers(-300, 300, (2, 3)).tolist()
    net = chain(weight, bits=bits, projection=projection, **options)
    assert_same(net, rng.integers(0, 2**bits, (6, 2, 3)))


def test_counts_come_from_what_was_sent() -> None:
    net = chain([[20, 0], [0, 20]])
    x = np.array([[[1, 1], [1, 0]], [[0, 1], [0, 0]], [[0, 0], [0, 0]]])
    run = emulate(net, x)
    assert run.counts.populations["in"].spikes == 4
    assert run.counts.populations["in"].neuron_updates == 0
    assert run.counts.populations["out"].spikes == 4  # every input message makes one neuron fire
    assert run.counts.populations["out"].neuron_updates == 2 * 3 * 2
    assert run.counts.projections["w"].synaptic_operations == 4 * 2
    assert (run.counts.steps, run.counts.samples) == (3, 2)


def test_one_step_and_progress() -> None:
    net = chain([[20]], bias_mant=np.array([7]))
    seen: list[tuple[int, int]] = []
    run = emulate(
        net,
        np.ones((1, 3, 1), dtype=bool),
        steps=1,
        record=["v"],
        batch_size=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert run.records["out"]["v"].ravel().tolist() == [7, 7, 7]
    assert seen == [(2, 3), (3, 3)]


def test_the_callers_float_settings_do_not_matter_and_survive() -> None:
    net = chain([[254, 254]], bits=16, vth=131071)
    x = np.array([[[32513, 501]], [[0, 0]]])
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_same(net, x)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


GOOD = np.zeros((3, 2, 2), dtype=np.int32)


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (GOOD[0], {"steps": 3}, UsageError, "constant bias"),
        (np.zeros((3, 2, 5), dtype=int), {}, ShapeMismatchError, "fit"),
        (np.zeros(3, dtype=int), {}, ShapeMismatchError, "fit"),
        (GOOD.astype(float), {}, UsageError, "integers"),
        (GOOD - 1, {}, UsageError, "found -1"),
        (GOOD + 2, {}, UsageError, "found 2"),
        (GOOD[:0], {}, UsageError, "nothing to run"),
        (GOOD[:, :0], {}, UsageError, "nothing to run"),
        (GOOD, {"steps": 4}, UsageError, "steps"),
        (GOOD, {"record": ("w",)}, UsageError, "recorded"),
        (GOOD, {"record": "uv"}, UsageError, "recorded"),
        (GOOD, {"batch_size": 0}, UsageError, "batch_size"),
        (GOOD, {"device": "nonsense"}, BackendUnavailableError, "nonsense"),
    ],
)
def test_bad_input(x: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        emulate(chain([[2, 2]]), x, **options)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_integers() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rng = np.random.default_rng(5)
    assert_same(mixed_network(rng), rng.integers(0, 256, (8, 3, 2, 7, 8)), device="cuda")
