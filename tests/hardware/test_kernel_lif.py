"""The compiled LIF neuron against `lif_fixed`, from any state and any input 32 bits can hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurokd.hardware.kernel_events import Arrivals, Events
from neurokd.hardware.kernel_lif import lif_steps
from neurokd.hardware.lif_fixed import current_step, voltage_step

STEPS, SAMPLES, NEURONS = 6, 3, 2100


@pytest.mark.parametrize(("du", "dv"), [(0, 0), (4095, 4095), (17, 410), (4095, 0), (2048, 1)])
@pytest.mark.parametrize("in_range", [True, False])
def test_every_step_equals_lif_fixed(du: int, dv: int, in_range: bool) -> None:
    rng = np.random.default_rng([du, dv])
    shape = (SAMPLES, NEURONS)
    # 2^8 · 64 · 4096 / (du + 1) < 2^23 for du ≥ 7: there, and at du = 0 for 6 steps, u is in range.
    largest = 1 << 8 if in_range else (1 << 31) - 1
    a = rng.integers(-largest, largest, (SAMPLES, STEPS, NEURONS)).astype(np.int32)
    a[:, :, ::3] >>= 14  # small currents beside those that wrap at once
    arrivals = Arrivals(a, np.ones((SAMPLES, STEPS), dtype=np.uint8))
    arrivals.arrived[1, 3] = 0
    limit = 1 << (12 if in_range else 30)
    u = rng.integers(-limit, limit, shape).astype(np.int32)
    v = rng.integers(-(1 << 23) + 1, 1 << 23, shape).astype(np.int32)
    bias = rng.integers(-(1 << 19), 1 << 19, (1, NEURONS)).astype(np.int32)
    events = Events.empty(SAMPLES, STEPS, NEURONS, False)
    totals = np.zeros(NEURONS, dtype=np.int64)
    traces = [np.zeros(a.shape, dtype=np.int32) for _ in range(2)]
    lost, saturated = (np.zeros(STEPS, dtype=np.int64) for _ in range(2))
    expected_u, expected_v = torch.from_numpy(u.copy()), torch.from_numpy(v.copy())
    parameters = du, dv, 700, 5, in_range
    lists = events.index, events.count, events.row
    for first, last in ((0, 2), (2, STEPS)):
        lif_steps(
            a, arrivals.arrived, first, last, u, v, bias, *parameters, *lists, totals, *traces,
            lost, saturated,
        )  # fmt: skip
    fired = np.zeros(NEURONS, dtype=np.int64)
    for t in range(STEPS):
        if t + 1 == 5:
            expected_u, expected_v = torch.zeros_like(expected_u), torch.zeros_like(expected_v)
        received = torch.from_numpy(np.where(arrivals.arrived[:, t, None], a[:, t], 0))
        expected_u, beyond = current_step(expected_u, received.to(torch.int32), du)
        expected_v, spikes, clipped = voltage_step(
            expected_v, expected_u, torch.from_numpy(bias), dv, 700
        )
        np.testing.assert_array_equal(traces[0][:, t], expected_u.numpy())
        np.testing.assert_array_equal(traces[1][:, t], expected_v.numpy())
        assert (lost[t], saturated[t]) == (int(beyond.sum()), int(clipped.sum()))
        for b in range(SAMPLES):
            listed = events.index[b, t, : events.count[b, t]]
            np.testing.assert_array_equal(listed, np.flatnonzero(spikes[b].numpy()))
        fired += spikes.sum(dim=0).numpy()
    np.testing.assert_array_equal(totals, fired)
    assert fired.sum() and (in_range or lost.sum())
