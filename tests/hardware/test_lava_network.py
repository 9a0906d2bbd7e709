"""Lava's own arithmetic, worked out by hand for every kind of population and projection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neurokd.errors import BackendFailedError
from neurokd.hardware.emulator import emulate
from neurokd.hardware.lava_backend import simulate_lava
from neurokd.hardware.lava_network import VARIABLES, NetworkError, check_inputs
from neurokd.hardware.lava_process import LavaWorker
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
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)
from neurokd.hardware.run import RECORDABLE, Run

pytestmark = pytest.mark.lava

SIGMA = SigmaPopulation("out", (1,))
GRADED = InputPopulation("in", (1,), "graded", bits=24, signed=True)


def ints(*values: Any) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


def relayed(name: str = "w", source: str = "in", target: str = "out") -> DenseProjection:
    """One synapse of weight 1."""
    return DenseProjection(name, source, target, ints([1]), sign_mode="excitatory")


def run(
    worker: LavaWorker,
    x: NDArray[np.int32],
    populations: list[Population],
    projections: list[Projection],
    steps: int | None = None,
) -> Run:
    """What Lava answers, which the emulator has to answer too."""
    names = [p.name for p in populations]
    output = "out" if "out" in names else names[-1]
    net = DeployedNetwork(tuple(populations), tuple(projections), output, "loihi2", 4)
    found = simulate_lava(net, x, steps, record=RECORDABLE, worker=worker)
    expected = emulate(net, x, steps, record=RECORDABLE)
    for name, variables in expected.records.items():
        for variable, values in variables.items():
            np.testing.assert_array_equal(found.records[name][variable], values)
    assert found.counts == expected.counts
    return found


def series(found: Run, name: str, variable: str, sample: int = 0) -> list[Any]:
    values = found.records[name][variable][:, sample]
    return values.reshape(len(values), -1).squeeze(1).tolist()


def steps_of(*samples: list[int]) -> NDArray[np.int32]:
    """Samples, each a list over time, as (T, B, 1)."""
    return np.array(samples, dtype=np.int32).T[:, :, None]


def test_signed_messages_are_multiplied_not_counted(lava_worker: LavaWorker) -> None:
    weights = DenseProjection("w", "in", "out", ints([3]), sign_mode="excitatory")
    found = run(lava_worker, steps_of([-5, 7, 0, 0]), [GRADED, SIGMA], [weights])
    assert series(found, "out", "sigma") == [0, -15, 6, 6]
    assert series(found, "out", "spikes") == [0, -15, 6, 6]
    assert not found.output_is_spikes and found.output.ravel().tolist() == [0, -15, 6, 6]


def test_u_is_wrapped_once_and_leaves_24_bits(lava_worker: LavaWorker) -> None:
    """a = 254 · 32 << 7 = 1,040,384; a << 6 = 66,584,576, less 2²⁴ once. The chip has 24 bits."""
    lif = LIFPopulation("out", (1,), du=4095, dv=0, vth=131071, bias_mant=ints(0))
    weights = DenseProjection("w", "in", "out", ints([254]), 7, sign_mode="excitatory")
    found = run(lava_worker, steps_of([32, -32, 0]), [GRADED, lif], [weights])
    assert series(found, "out", "u") == [0, 49_807_360, -49_807_360]


def test_u_may_be_2_to_the_23_but_not_its_negative(lava_worker: LavaWorker) -> None:
    """131,072 << 6 = 2²³ stays; −2²³ is moved up by 2²⁴. A signed register of 24 bits has −2²³."""
    lif = LIFPopulation("out", (1,), du=4095, dv=0, vth=131071, bias_mant=ints(0))
    found = run(lava_worker, steps_of([131072, -131072, 0]), [GRADED, lif], [relayed()])
    assert series(found, "out", "u") == [0, 1 << 23, 1 << 23]


def test_v_saturates_at_the_same_magnitude_on_both_sides(lava_worker: LavaWorker) -> None:
    """64 · 65,536 = 2²²: the second spike would make 2²³."""
    lif = LIFPopulation("out", (1,), du=4095, dv=0, vth=131071, bias_mant=ints(0), spiking=False)
    weights = DenseProjection("w", "in", "out", ints([1]), sign_mode="excitatory")
    found = run(lava_worker, steps_of([-65536] * 4), [GRADED, lif], [weights])
    assert series(found, "out", "v") == [0, -(1 << 22), 1 - (1 << 23), 1 - (1 << 23)]


def test_a_convolution_wraps_at_24_bits_and_has_no_weight_format(lava_worker: LavaWorker) -> None:
    """300 would be clipped to 255, and 2²³ saturated; a convolution in Lava does neither."""
    image = InputPopulation("in", (1, 1, 1), "graded", bits=24, signed=True)
    conv = ConvProjection("k", "in", "out", ints(300).reshape(1, 1, 1, 1), weight_exp=1)
    x = ints(1, 13982, -13982, 0).reshape(4, 1, 1, 1, 1)
    found = run(lava_worker, x, [image, SigmaPopulation("out", (1, 1, 1))], [conv])
    sums = [0, 600, 600 * 13982 - (1 << 24), (1 << 24) - 600 * 13982]
    assert 600 * 13982 > 1 << 23
    assert series(found, "out", "sigma") == np.cumsum(sums).tolist()


def test_a_convolution_is_not_flipped(lava_worker: LavaWorker) -> None:
    image = InputPopulation("in", (1, 1, 3), "graded", bits=8)
    conv = ConvProjection("k", "in", "out", ints(1, 10).reshape(1, 1, 1, 2))
    x = ints([1, 2, 3], [0, 0, 0]).reshape(2, 1, 1, 1, 3)
    found = run(lava_worker, x, [image, SigmaPopulation("out", (1, 1, 2))], [conv])
    assert found.output[1, 0].ravel().tolist() == [21, 32]


@pytest.mark.parametrize("sparse", [False, True])
def test_delays_arrive_late_and_shift_before_they_are_summed(
    lava_worker: LavaWorker, sparse: bool
) -> None:
    """(1 + 1) >> 1 is 1 where both arrive together, 0 + 0 where they do not."""
    pair = InputPopulation("in", (2,), "graded", bits=1)
    target = SigmaPopulation("out", (2,))
    delays = ints([2, 2], [0, 2])
    fields: dict[str, Any] = {"weight_exp": -1, "sign_mode": "excitatory"}
    weights: Projection = DenseProjection(
        "w", "in", "out", np.ones((2, 2), dtype=np.int32), delays=delays, **fields
    )
    if sparse:
        rows, columns = np.indices((2, 2), dtype=np.int32)
        weights = SparseProjection(
            *("w", "in", "out", rows.ravel(), columns.ravel()),
            np.ones(4, dtype=np.int32),
            delays=delays.ravel(),
            **fields,
        )
    x = np.zeros((6, 1, 2), dtype=np.int32)
    x[0] = 1
    found = run(lava_worker, x, [pair, target], [weights])
    assert found.output[:, 0].tolist() == [[0, 0]] * 3 + [[1, 0]] * 3


@pytest.mark.parametrize(
    ("sparse", "delay", "arrives"),
    [(False, 0, -(1 << 23)), (True, 0, -(1 << 23)), (True, 1, -(1 << 23)), (False, 1, 255 << 23)],
)
def test_a_sum_beyond_32_bits_wraps_before_the_shift_except_in_a_delayed_dense(
    lava_worker: LavaWorker, sparse: bool, delay: int, arrives: int
) -> None:
    """255 · 2²³ twice is 255 · 2²⁴ or, in 32 bits, −2²⁴; then comes >> 1."""
    pair = InputPopulation("in", (2,), "graded", bits=24)
    fields: dict[str, Any] = {"weight_exp": -1, "sign_mode": "excitatory"}
    late = ints(delay, delay)
    weights: Projection = (
        SparseProjection(
            "w", "in", "out", ints(0, 0), ints(0, 1), ints(255, 255), delays=late, **fields
        )
        if sparse
        else DenseProjection("w", "in", "out", ints([255, 255]), delays=late[None], **fields)
    )
    x = np.zeros((4, 1, 2), dtype=np.int32)
    x[0] = 1 << 23
    found = run(lava_worker, x, [pair, SIGMA], [weights])
    assert series(found, "out", "sigma") == [0] * (1 + delay) + [arrives] * (3 - delay)


@pytest.mark.parametrize("delay", [0, 1, 4, 62])
def test_nothing_in_flight_reaches_the_next_sample(lava_worker: LavaWorker, delay: int) -> None:
    """A message is on its way through a dense, a sparse and a recurrent synapse at the end."""
    populations = [
        InputPopulation("in", (1,)),
        SigmaDeltaPopulation("mid", (1,), vth=0, bias=ints(0)),
        SigmaPopulation("out", (1,)),
    ]
    late = ints(delay)
    projections: list[Projection] = [
        DenseProjection("a", "in", "mid", ints([6]), delays=late[None]),
        SparseProjection("b", "mid", "out", ints(0), ints(0), ints(8), delays=late),
        SparseProjection("c", "in", "out", ints(0), ints(0), ints(8)),
        DenseProjection("d", "mid", "mid", ints([2]), delays=late[None], recurrent=True),
    ]
    steps = 2 * delay + 4
    x = steps_of([1] * steps, [0] * steps)
    found = run(lava_worker, x, populations, projections)
    assert series(found, "mid", "sigma")[-1] > 0
    for name in ("mid", "out"):
        for variable, values in found.records[name].items():
            assert not values[:, 1].any(), (name, variable)


def test_a_constant_current_is_the_bias_of_each_sample(lava_worker: LavaWorker) -> None:
    """v > 64: with m << 6 a mantissa of 1 needs two steps, of 2 one; of −1 it never comes."""
    current = CurrentInputPopulation("in", (1,), dv=0, vth=1, bias_exp=6)
    found = run(lava_worker, ints([1], [2], [-1]), [current, SIGMA], [relayed()], steps=4)
    assert series(found, "in", "v", 0) == [64, 0, 64, 0]
    assert [series(found, "in", "spikes", i) for i in range(3)] == [
        [0, 1, 0, 1],
        [1, 1, 1, 1],
        [0, 0, 0, 0],
    ]
    assert series(found, "in", "v", 2) == [-64, -128, -192, -256]
    assert series(found, "out", "sigma", 1) == [0, 1, 2, 3]


def test_delta_coded_input(lava_worker: LavaWorker) -> None:
    """|δ| ≥ 3: 2 stays in the residue, then 4 leaves whole; each sample starts at rest."""
    coder = DeltaInputPopulation("in", (1,), vth=3)
    x = steps_of([2, 4, 10, 10], [3, 3, 1, 0])
    found = run(lava_worker, x, [coder, SIGMA], [relayed()])
    assert series(found, "in", "spikes") == [0, 4, 6, 0]
    assert series(found, "in", "residue") == [2, 0, 0, 0]
    assert series(found, "in", "act") == [2, 4, 10, 10]
    assert series(found, "in", "spikes", 1) == [3, 0, 0, -3]


def test_exponents_and_summed_error_of_delta(lava_worker: LavaWorker) -> None:
    """k = 1 + 2: values ×8, threshold 40, messages >> 2; the error adds up δ until it fires."""
    coder = DeltaPopulation("d", (1,), vth=5, spike_exp=1, state_exp=2, cum_error=True)
    found = run(
        lava_worker,
        steps_of([2, 2, 2, 0, 0]),
        [GRADED, coder, SIGMA],
        [relayed("a", "in", "d"), relayed("b", "d", "out")],
    )
    # y: 0 16 16 16 0; δ = y − act + residue: 0 16 16 16 0; error: 0 16 32 48 → fires
    assert series(found, "d", "act") == [0, 16, 16, 16, 0]
    assert series(found, "d", "error") == [0, 16, 32, 0, -16]
    assert series(found, "d", "residue") == [0, 16, 16, 0, -16]
    assert series(found, "d", "spikes") == [0, 0, 0, 4, 0]


@pytest.mark.parametrize(("start", "sent"), [(1, [0, 11, 0, 0]), (3, [0, 11, 0, 0])])
def test_sigma_delta_and_its_start(lava_worker: LavaWorker, start: int, sent: list[int]) -> None:
    """σ 0 10 10 10, y = σ + 1; from step 3 on it knows of nothing that came before."""
    neuron = SigmaDeltaPopulation("s", (1,), vth=4, bias=ints(1), start_step=start)
    twice = DenseProjection("a", "in", "s", ints([2]), sign_mode="excitatory")
    found = run(
        lava_worker,
        steps_of([5, 0, 0, 0]),
        [GRADED, neuron, SIGMA],
        [twice, relayed("b", "s", "out")],
    )
    later = [10, 10] if start == 1 else [0, 0]
    assert series(found, "s", "sigma") == [0, 10, *later]
    assert series(found, "s", "act") == [1, 11, *(value + 1 for value in later)]
    assert series(found, "s", "residue") == [1, 0, *([0, 0] if start == 1 else [1, 1])]
    assert series(found, "s", "spikes") == sent
    assert series(found, "out", "sigma") == [0, 0, 11, 11]


def test_relu_and_identity(lava_worker: LavaWorker) -> None:
    neurons = {
        mode: SigmaDeltaPopulation(mode, (1,), vth=0, bias=ints(0), activation=mode)  # type: ignore[arg-type]
        for mode in ("relu", "identity")
    }
    found = run(
        lava_worker,
        steps_of([-3, 5, 0]),
        [GRADED, *neurons.values(), SIGMA],
        [relayed(f"{m}.in", "in", m) for m in neurons]
        + [relayed(f"{m}.out", m, "out") for m in neurons],
    )
    assert series(found, "relu", "spikes") == [0, 0, 2]
    assert series(found, "identity", "spikes") == [0, -3, 5]


@pytest.mark.parametrize("kind", [DenseProjection, SparseProjection])
@pytest.mark.parametrize(
    ("mode", "stored"), [("mixed", 254), ("excitatory", 255), ("inhibitory", 0)]
)
def test_the_sign_mode_is_what_the_network_says(
    lava_worker: LavaWorker, kind: type[Any], mode: str, stored: int
) -> None:
    """Lava would take weights that are all positive for excitatory, and keep 255 of 257."""
    ends = (ints(0), ints(0)) if kind is SparseProjection else ()
    weight = ints(257) if kind is SparseProjection else ints([257])
    projection = kind("w", "in", "out", *ends, weight, sign_mode=mode)
    found = run(lava_worker, steps_of([1, 0]), [InputPopulation("in", (1,)), SIGMA], [projection])
    assert found.output.ravel().tolist() == [0, stored]


def test_two_projections_meet_in_one_population(lava_worker: LavaWorker) -> None:
    """Of either layout; each arrives with its own exponent."""
    image = InputPopulation("in", (2, 1, 2), "graded", bits=4)
    target = SigmaPopulation("out", (1, 1, 2))
    found = run(
        lava_worker,
        ints([1, 2, 3, 4], [0, 0, 0, 0]).reshape(2, 1, 2, 1, 2),
        [image, target],
        [
            ConvProjection("c", "in", "out", ints(1, 100).reshape(1, 2, 1, 1)),
            DenseProjection(
                "d", "in", "out", ints([2, 0, 0, 0], [0, 4, 8, 0]), -1, sign_mode="excitatory"
            ),
        ],
    )
    assert found.output[1].ravel().tolist() == [301 + 1, 402 + 16]


def test_variables_are_those_of_a_run() -> None:
    assert VARIABLES == RECORDABLE


def test_input_of_another_shape_is_refused_before_lava_starts(lava_worker: LavaWorker) -> None:
    population = {"name": "in", "kind": "input", "shape": [2, 3]}
    assert check_inputs(np.zeros((4, 5, 2, 3), dtype=np.int32), population, 4) == 5
    for shape in ((3, 5, 2, 3), (4, 2, 3), (4, 5, 3, 2)):
        with pytest.raises(NetworkError, match="the input is int32"):
            check_inputs(np.zeros(shape, dtype=np.int32), population, 4)
    with pytest.raises(BackendFailedError, match="No such file"):
        lava_worker.request({"network": "/nowhere", "input": "", "folder": "", "steps": 1})
