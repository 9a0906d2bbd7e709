"""What projections deliver, by hand and against exact Python integers.

A sigma population sums what arrives, so the differences of its σ are what was delivered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import DeltaInputPopulation, InputPopulation, SigmaPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection, SparseProjection
from neurokd.hardware.run import Run


def int32(values: Any) -> Any:
    return (np.asarray(values, dtype=object) + 2**31) % 2**32 - 2**31


def run(projections: list[Any], source: Any, target: tuple[int, ...], x: NDArray[Any]) -> Run:
    network = DeployedNetwork(
        (source, SigmaPopulation("out", target)), tuple(projections), "out", "loihi2", steps=4
    )
    return emulate(network, x)


def delivered(projections: list[Any], source: Any, target: tuple[int, ...], x: NDArray[Any]) -> Any:
    """(T, B, *target) what arrived at every step."""
    sigma = run(projections, source, target, x).output.astype(object)
    return int32(np.diff(sigma, axis=0, prepend=np.zeros_like(sigma[:1])))


def source(size: int, bits: int = 8, signed: bool = False) -> InputPopulation:
    return InputPopulation("in", (size,), "graded", bits, signed=signed)


def dense(weight: Any, delays: Any = None, **options: Any) -> DenseProjection:
    return DenseProjection(
        options.pop("name", "w"),
        "in",
        "out",
        np.array(weight),
        delays=None if delays is None else np.array(delays),
        **options,
    )


def sparse(rows: Any, columns: Any, weight: Any, **options: Any) -> SparseProjection:
    lists = (np.array(values) for values in (rows, columns, weight))
    return SparseProjection(options.pop("name", "w"), "in", "out", *lists, **options)


def pulse(values: list[int], steps: int) -> NDArray[np.int32]:
    """One sample that sends ``values`` at step 1 and nothing after."""
    x = np.zeros((steps, 1, len(values)), dtype=np.int32)
    x[0, 0] = values
    return x


def test_a_delay_adds_to_the_step_that_delivery_takes() -> None:
    projection = dense([[10, 20], [30, 40]], [[0, 2], [3, 0]])
    a = delivered([projection], source(2), (2,), pulse([1, 1], 6))[:, 0]
    assert a.tolist() == [[0, 0], [10, 40], [0, 0], [20, 0], [0, 30], [0, 0]]


def test_the_longest_delay_and_what_arrives_after_the_end() -> None:
    projection = dense([[10, 20]], [[62, 61]])
    x = np.ones((64, 1, 2), dtype=np.int32)
    a = delivered([projection], source(2), (1,), x).ravel()
    assert a.tolist() == [0] * 62 + [20, 30]


def test_the_exponent_shifts_each_delay_by_itself() -> None:
    # together 3 + 3 = 6 >> 1 = 3; apart 3 >> 1 = 1 and 1
    one_sign = {"weight_exp": -1, "sign_mode": "excitatory"}
    x = pulse([1, 1], 4)
    together = delivered([dense([[3, 3]], **one_sign)], source(2), (1,), x).ravel()
    apart = delivered([dense([[3, 3]], [[0, 1]], **one_sign)], source(2), (1,), x).ravel()
    assert together.tolist() == [0, 3, 0, 0]
    assert apart.tolist() == [0, 1, 1, 0]
    # two steps of messages meet after the shift: 1 + 1, not (3 + 3) >> 1
    twice = np.array([[[1, 0]], [[0, 0]], [[0, 0]]]) + np.array([[[0, 1]], [[1, 0]], [[0, 0]]])
    apart = delivered([dense([[3, 3]], [[0, 1]], **one_sign)], source(2), (1,), twice).ravel()
    assert apart.tolist() == [0, 1, 2]


def test_a_negative_sum_is_floored_in_every_slot() -> None:
    negative = {"weight_exp": -2, "sign_mode": "inhibitory"}
    a = delivered([dense([[-1, -1]], [[0, 1]], **negative)], source(2), (1,), pulse([1, 1], 3))
    assert a.ravel().tolist() == [0, -1, -1]


def test_sparse_delivers_only_along_its_synapses() -> None:
    projection = sparse([1, 0, 1], [0, 2, 2], [7, 9, -4], sign_mode="mixed")
    a = delivered([projection], source(3), (2,), pulse([3, 100, 5], 2))[:, 0]
    # mixed weights are even: 6, 8, −4
    assert a.tolist() == [[0, 0], [8 * 5, 6 * 3 - 4 * 5]]


def test_sparse_with_delays() -> None:
    projection = sparse([0, 0], [0, 1], [5, 7], sign_mode="excitatory", delays=np.array([1, 3]))
    a = delivered([projection], source(2), (1,), pulse([2, 1], 6)).ravel()
    assert a.tolist() == [0, 0, 10, 0, 7, 0]


def test_signed_messages() -> None:
    x = pulse([-255, 3], 2)
    a = delivered([dense([[2, -2], [4, 8]])], source(2, signed=True), (2,), x)[1, 0]
    assert a.tolist() == [-516, -996]


def test_several_projections_add_up() -> None:
    projections = [
        dense([[2, 2]], name="a"),
        dense([[4, 0]], [[2, 0]], name="b"),
        sparse([0], [1], [8], name="c", weight_exp=1),
    ]
    a = delivered(projections, source(2), (1,), pulse([1, 3], 5)).ravel()
    assert a.tolist() == [0, 8 + 48, 0, 4, 0]


def test_dense_and_sparse_wrap_before_the_shift_dense_with_delays_after_it() -> None:
    """Lava's int32 arithmetic: a dot product in int32, but NumPy's sum of a matrix in int64."""
    top = 2**24 - 1
    one_sign = {"weight_exp": -8, "sign_mode": "excitatory"}
    x = np.full((3, 1, 2), top)
    exact = 2 * 100 * top
    wrapped = int(int32(exact)) >> 8
    weight, far = [[100, 100]], [[0, 0], [9, 0]]
    assert delivered([dense(weight, **one_sign)], source(2, 24), (1,), x)[1, 0, 0] == wrapped
    found = delivered([dense([*weight, [0, 0]], far, **one_sign)], source(2, 24), (2,), x)
    assert found[1, 0, 0] == exact >> 8 != wrapped
    found = delivered([sparse([0, 0], [0, 1], [100, 100], **one_sign)], source(2, 24), (1,), x)
    assert found[1, 0, 0] == wrapped
    # a single product beyond 32 bits wraps before it is summed: 255 · top = 2³² − 2²⁴ − 255
    found = delivered([dense([[255, 255], [0, 0]], far, **one_sign)], source(2, 24), (2,), x)
    assert found[1, 0, 0] == 2 * (-(2**24) - 255) >> 8


def test_what_wraps_is_reported() -> None:
    x = np.full((3, 2, 2), 2**24 - 1)
    options: dict[str, Any] = {"weight_exp": -8, "sign_mode": "excitatory"}
    for projection in (
        dense([[100, 100]], **options),
        dense([[255, 255]], [[1, 0]], **options),
        sparse([0, 0], [0, 1], [200, 100], **options),
        dense([[1, 1]], weight_exp=7, sign_mode="excitatory"),
    ):
        overflows = run([projection], source(2, 24), (1,), x).overflows
        found = [(o.variable, o.step, o.neurons) for o in overflows if o.variable == "a"]
        assert found[-1] == ("a", 3, 2), projection


def test_a_convolution_takes_its_exponent() -> None:
    image = InputPopulation("in", (1, 2, 2), "graded", 8)
    conv = ConvProjection("c", "in", "out", np.array([[[[1, -2], [3, 0]]]]), weight_exp=3)
    x = np.zeros((2, 1, 1, 2, 2), dtype=np.int32)
    x[0] = [[10, 20], [30, 40]]
    assert delivered([conv], image, (1, 1, 1), x).ravel().tolist() == [0, 8 * (10 - 40 + 90)]


def test_messages_of_32_bits_into_many_synapses() -> None:
    """Where float64 does not hold the sum, halves of the messages do."""
    rng = np.random.default_rng(0)
    size = 40_000
    inputs = DeltaInputPopulation("in", (size,), vth=0, spike_exp=7, bits=24)
    weight = rng.integers(200, 256, (2, size))
    x = rng.integers(2**23, 2**24, (2, 1, size))
    messages = x[0, 0].astype(object) * 128 - (x[0, 0] >= 2**24) * 2**32
    a = delivered([dense(weight, sign_mode="excitatory")], inputs, (2,), x)
    assert sum(abs(int(m)) for m in messages) * 256 > 2**53
    assert a[1, 0].tolist() == int32(weight.astype(object) @ messages).tolist()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_projections_equal_exact_integers(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    bits = data.draw(st.sampled_from([1, 8, 24]))
    exponent = data.draw(st.integers(-8, 7))
    mode: Any = data.draw(st.sampled_from(["mixed", "excitatory", "inhibitory"]))
    options: dict[str, Any] = {"weight_exp": exponent, "sign_mode": mode}
    delays = rng.integers(0, 4, (3, 4)) if data.draw(st.booleans()) else None
    weight = rng.integers(-300, 300, (3, 4))
    is_dense = data.draw(st.booleans())
    projection: DenseProjection | SparseProjection
    if is_dense:
        projection = dense(weight, delays, **options)
        stored = projection.effective_weight.astype(object)
    else:
        rows, columns = np.nonzero(rng.random((3, 4)) < 0.6)
        kept = None if delays is None else delays[rows, columns]
        projection = sparse(rows, columns, weight[rows, columns], delays=kept, **options)
        stored = np.zeros((3, 4), dtype=object)
        stored[rows, columns] = projection.effective_weight
    top = 2**bits - 1
    x = rng.integers(-top, top + 1, (7, 2, 4)) * (rng.random((7, 2, 4)) < 0.7)
    late = np.zeros((3, 4), dtype=int) if delays is None else delays
    expected = np.zeros((7 + 5, 2, 3), dtype=object)
    sums_wide = is_dense and projection.delays is not None
    for t, b, delay in np.ndindex(7, 2, 4):
        products = np.where(late == delay, stored, 0) * x[t, b].astype(object)
        sums = int32(products).sum(axis=1) if sums_wide else int32(products.sum(axis=1))
        shifted = sums * 2**exponent if exponent > 0 else sums // 2**-exponent
        expected[t + 1 + delay, b] += int32(shifted)
    found = delivered([projection], source(4, bits, signed=True), (3,), x)
    np.testing.assert_array_equal(found, int32(expected[:7]))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_do_not_change_what_arrives(batch_size: int) -> None:
    rng = np.random.default_rng(1)
    network = DeployedNetwork(
        (source(5, 24, signed=True), SigmaPopulation("out", (4,))),
        (dense(rng.integers(-256, 256, (4, 5)), rng.integers(0, 3, (4, 5)), weight_exp=-3),),
        "out",
        "loihi2",
        steps=4,
    )
    x = rng.integers(-(2**24) + 1, 2**24, (6, 4, 5))
    x[:, 0] //= 2**20  # samples of small and of large messages take different products
    whole, parts = emulate(network, x), emulate(network, x, batch_size=batch_size)
    np.testing.assert_array_equal(whole.output, parts.output)
    assert whole.overflows == parts.overflows
