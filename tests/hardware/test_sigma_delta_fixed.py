"""Sigma and delta neurons against hand-derived numbers and exact Python integers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokd.hardware.sigma_delta_fixed import DeltaUpdate, SigmaDeltaUpdate, SigmaUpdate

INT32 = st.integers(-(2**31), 2**31 - 1)


def tensor(value: int) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.int32)


def walk(
    update: Any, arriving: list[int]
) -> tuple[list[int], dict[str, list[int]], list[set[str]]]:
    """Messages, state after every step, and what was lost at every step, of one neuron."""
    state = {name: tensor(0) for name in update.variables}
    sent, lost = [], []
    course: dict[str, list[int]] = {name: [] for name in update.variables}
    for a in arriving:
        state, message, flags = update(state, tensor(a))
        sent.append(int(message))
        lost.append({name for name, flag in flags.items() if flag})
        for name, values in state.items():
            course[name].append(int(values))
    return sent, course, lost


def test_delta_sends_what_reaches_the_threshold() -> None:
    # 3 is below 5 and stays as residue; 4 more make 7; nothing; then -8.
    sent, course, lost = walk(DeltaUpdate(5, 0, 0, False), [0, 3, 7, 7, -1])
    assert sent == [0, 0, 7, 0, -8]
    assert course["residue"] == [0, 3, 0, 0, 0]
    assert course["act"] == [0, 3, 7, 7, -1]
    assert course["error"] == [0] * 5
    assert lost == [set()] * 5


def test_exponents_scale_state_and_message() -> None:
    # all state is shifted by 3, the message loses state_exp = 2 of it: 7 << 1
    sent, course, _ = walk(DeltaUpdate(5, 1, 2, False), [0, 3, 7, 7, -1])
    assert sent == [0, 0, 14, 0, -16]
    assert course["residue"] == [0, 24, 0, 0, 0]
    assert course["act"] == [0, 24, 56, 56, -8]


def test_cumulated_error_lets_a_small_change_through() -> None:
    # δ is 2 at every step until it is sent; its error is 2, 4, 6 ≥ 5, then 0
    sent, course, _ = walk(DeltaUpdate(5, 0, 0, True), [2, 2, 2, 2])
    assert sent == [0, 0, 2, 0]
    assert course["error"] == [2, 4, 0, 0]
    assert course["residue"] == [2, 2, 0, 0]


def test_the_threshold_itself_fires() -> None:
    assert walk(DeltaUpdate(5, 0, 0, False), [5])[0] == [5]
    assert walk(DeltaUpdate(5, 0, 0, False), [-5])[0] == [-5]
    assert walk(DeltaUpdate(6, 0, 0, False), [5])[0] == [0]


def test_the_smallest_integer_has_no_magnitude() -> None:
    # |−2³¹| is −2³¹ in int32: below every threshold, even 0.
    sent, course, lost = walk(DeltaUpdate(0, 0, 0, False), [-(2**31)])
    assert (sent, course["residue"], lost) == ([0], [-(2**31)], [{"delta"}])
    # an error above the threshold sends it, and stays, since |s| > 0 does not hold
    update = DeltaUpdate(1, 0, 0, True)
    state = {"act": tensor(0), "residue": tensor(0), "error": tensor(2**31 - 1)}
    state, message, flags = update(state, tensor(-(2**31)))
    assert (int(state["error"]), int(message)) == (-1, -(2**31))
    assert flags["delta"] and not flags["error"]


def test_delta_wraps_at_32_bits() -> None:
    sent, course, lost = walk(DeltaUpdate(0, 0, 0, False), [2**31 - 1, -2])
    # −2 − (2³¹ − 1) = −2³¹ − 1, in int32 2³¹ − 1
    assert sent == [2**31 - 1, 2**31 - 1]
    assert lost == [set(), {"delta"}]
    # 2³⁰ << 2 is 0 in int32
    sent, course, lost = walk(DeltaUpdate(0, 1, 1, False), [2**30])
    assert (sent, course["act"], lost) == ([0], [0], [{"act"}])


def test_sigma_sums_and_wraps() -> None:
    sent, course, lost = walk(SigmaUpdate(), [5, -7, 2**31 - 1, 3])
    assert sent == course["sigma"] == [5, -2, 2**31 - 3, -(2**31)]
    assert lost == [set(), set(), set(), {"sigma"}]


def sigma_delta(activation: Any = "relu", bias: int = 6, **options: Any) -> SigmaDeltaUpdate:
    fields = {"vth": 2, "spike_exp": 1, "state_exp": 0, "cum_error": False} | options
    return SigmaDeltaUpdate(bias=tensor(bias)[0], activation=activation, **fields)


def test_sigma_delta_by_hand() -> None:
    # σ −10, 2, 5, 6; y = max(0, σ + 6) = 0, 8, 11, 12; threshold 2 << 1 = 4
    sent, course, _ = walk(sigma_delta(), [-10, 12, 3, 1])
    assert course["sigma"] == [-10, 2, 5, 6]
    assert course["act"] == [0, 8, 11, 12]
    assert course["residue"] == [0, 0, 3, 0]
    assert sent == [0, 8, 0, 4]
    sent, course, _ = walk(sigma_delta("identity"), [-10, 12])
    assert (sent, course["act"]) == ([-4, 12], [-4, 8])


def test_a_message_is_floored_by_the_state_exponent() -> None:
    # δ = −5 with two bits of state more: −5 >> 2 = −2
    sent, _, _ = walk(sigma_delta("identity", bias=0, vth=0, spike_exp=0, state_exp=2), [-5, 10])
    assert sent == [-2, 2]


def test_the_activation_wraps_before_it_is_rectified() -> None:
    sent, course, lost = walk(sigma_delta(bias=2**30), [2**30])
    assert (sent, course["act"], lost) == ([0], [0], [{"act"}])


def int32(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


@settings(max_examples=300, deadline=None)
@given(
    INT32,
    st.tuples(INT32, INT32, INT32, INT32),
    INT32,
    st.integers(0, 7),
    st.integers(0, 7),
    st.integers(0, 2**31 - 1),
    st.booleans(),
    st.sampled_from(["relu", "identity"]),
)
def test_one_step_equals_exact_integers(
    a: int,
    start: tuple[int, int, int, int],
    bias: int,
    spike_exp: int,
    state_exp: int,
    vth: int,
    cum_error: bool,
    activation: Any,
) -> None:
    """The equations in Python integers that are wrapped wherever Lava's are int32."""
    shift = spike_exp + state_exp
    vth >>= shift
    names = ("sigma", "act", "residue", "error")
    update = SigmaDeltaUpdate(vth, tensor(bias)[0], spike_exp, state_exp, cum_error, activation)
    state = dict(zip(names, map(tensor, start), strict=True))
    found, message, lost = update(state, tensor(a))

    def magnitude(value: int) -> int:
        return int32(abs(value))

    sigma, act, residue, error = start
    sigma_exact, delta_exact = sigma + a, 0
    sigma = int32(sigma_exact)
    y = int32(sigma + bias)
    y = max(0, y) if activation == "relu" else y
    delta_exact = y - act + residue
    delta = int32(delta_exact)
    error_exact = error + delta if cum_error else error
    error = int32(error_exact)
    sent = delta if magnitude(error if cum_error else delta) >= vth << shift else 0
    if cum_error and magnitude(sent) > 0:
        error = 0
    expected = {"sigma": sigma, "act": y, "residue": int32(delta - sent), "error": error}
    assert {name: int(value) for name, value in found.items()} == expected
    assert int(message) == sent >> state_exp
    assert bool(lost["sigma"]) == (sigma != sigma_exact)
    assert bool(lost["delta"]) == (delta != delta_exact or delta == -(2**31))


@pytest.mark.parametrize("update", [SigmaUpdate(), DeltaUpdate(3, 1, 2, True), sigma_delta()])
def test_nothing_given_is_changed(update: Any) -> None:
    state = {name: tensor(3) for name in update.variables}
    update(state, tensor(8))
    assert all(int(values) == 3 for values in state.values())
