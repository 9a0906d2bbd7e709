"""The fixed-point neuron against hand-derived numbers and exact Python integers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokd.hardware.lif_fixed import (
    current_cannot_overflow,
    current_step,
    current_step_in_range,
    decay,
    voltage_step,
)


def tensor(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def int32(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def expected_decay(state: int, keep: int) -> int:
    return (1 if state >= 0 else -1) * ((abs(state) * keep) >> 12)


def expected_current(u: int, a: int, du: int) -> int:
    y = int32(expected_decay(u, 4096 - (du + 1)) + int32(a * 64))
    if y > 2**23:
        return y - 2**24
    if y <= -(2**23):
        return y + 2**24
    return y


def test_decay_rounds_towards_zero() -> None:
    # 3 · 2048 / 4096 = 1.5 → 1 either side of zero.
    assert decay(tensor(3, -3, 0, 1), 2048).tolist() == [1, -1, 0, 0]
    assert decay(tensor(7, -7), 4096).tolist() == [7, -7]
    assert decay(tensor(7, -7), 0).tolist() == [0, 0]


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(0, 4096))
def test_split_product_equals_wide_product(state: int, keep: int) -> None:
    assert decay(tensor(state), keep).item() == expected_decay(state, keep)


def test_current_wraps_once_not_modulo() -> None:
    # a = 1,040,384: a << 6 = 66,584,576; minus 2^24 once = 49,807,360, far outside 24 bits.
    u, lost = current_step(tensor(0), tensor(1_040_384), du=4095)
    assert u.item() == 49_807_360
    assert lost.item()


@pytest.mark.parametrize(
    ("a", "u", "lost"),
    [
        (2**17, 2**23, False),  # exactly 2^23 stays
        (2**17 + 1, 2**23 + 64 - 2**24, True),
        (-(2**17), 2**23, True),  # -2^23 becomes +2^23
        (-(2**17) + 1, -(2**23) + 64, False),
        (2**25, -(2**31) + 2**24, True),  # a << 6 is 2^31, in int32 -2^31
        (2**26, 0, True),  # a << 6 is 2^32, in int32 0: lost although u looks harmless
    ],
)
def test_current_at_the_edges(a: int, u: int, lost: bool) -> None:
    result, flag = current_step(tensor(0), tensor(a), du=4095)
    assert (result.item(), flag.item()) == (u, lost)


def test_current_reports_a_lost_int32_sum() -> None:
    # du = 0 keeps 4095/4096 of u = 2^31 - 2^24 - 1, a << 6 = 2^31 - 64: the sum wraps int32.
    u = 2**31 - 2**24 - 1
    result, lost = current_step(tensor(u), tensor(2**25 - 1), du=0)
    assert result.item() == expected_current(u, 2**25 - 1, 0)
    assert lost.item()


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-(2**31) + 2**24, 2**31 - 1 - 2**24),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 4095),
)
def test_current_equals_exact_integers(u: int, a: int, du: int) -> None:
    assert current_step(tensor(u), tensor(a), du)[0].item() == expected_current(u, a, du)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**18), st.integers(0, 4095), st.data())
def test_a_proven_bound_never_wraps(bound: int, du: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from([-bound, bound]), min_size=1, max_size=30))
    full = fast = tensor(0)
    lost_anywhere = False
    for a in values:
        full, lost = current_step(full, tensor(a), du)
        fast = current_step_in_range(fast, tensor(a), du)
        lost_anywhere |= bool(lost)
    if current_cannot_overflow(bound, du):
        assert not lost_anywhere
        assert full.item() == fast.item()


def test_the_bound_is_tight_for_du_4095() -> None:
    assert current_cannot_overflow(2**17 - 1, 4095)
    assert not current_cannot_overflow(2**17, 4095)


def test_threshold_is_strict_and_resets() -> None:
    v, spikes, saturated = voltage_step(
        tensor(0, 0, 0), tensor(640, 641, 639), tensor(0), dv=0, vth=10
    )
    assert spikes.tolist() == [False, True, False]
    assert v.tolist() == [640, 0, 639]
    assert not saturated.any()


def test_voltage_saturates_and_says_so() -> None:
    limit = 2**23 - 1
    v, spikes, saturated = voltage_step(
        tensor(limit, -limit, limit), tensor(1, -1, 0), tensor(0), dv=0, vth=131071
    )
    # 131071 << 6 = 8,388,544 < 8,388,607: a saturated membrane still fires.
    assert spikes.tolist() == [True, False, True]
    assert v.tolist() == [0, -limit, 0]
    assert saturated.tolist() == [True, True, False]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-(2**23) + 1, 2**23 - 1),
    st.integers(-(2**31) + 2**24, 2**31 - 1 - 2**24),
    st.integers(-4096 * 128, 4095 * 128),
    st.integers(0, 4095),
    st.integers(0, 131071),
)
def test_voltage_equals_exact_integers(v: int, u: int, bias: int, dv: int, vth: int) -> None:
    total = expected_decay(v, 4096 - dv) + u + bias
    clipped = max(-(2**23) + 1, min(2**23 - 1, total))
    spike = clipped > vth * 64
    result, spikes, saturated = voltage_step(tensor(v), tensor(u), tensor(bias), dv, vth)
    assert result.item() == (0 if spike else clipped)
    assert spikes.item() == spike
    assert saturated.item() == (clipped != total)
