"""Latency against a busiest core worked out by hand."""

from __future__ import annotations

import pytest
from two_layers import chip_of, two_layers

from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.latency import latency


def chip() -> ChipSpec:
    bands = {
        "usable_cores_per_chip": Band.exact(10),
        "step_overhead_us": Band(1, 2, 3),
        "synaptic_operation_dense_time_ns": Band(10, 20, 30),
        "synaptic_operation_conv_time_ns": Band(5, 10, 15),
        "neuron_update_time_ns": Band(1, 2, 3),
        "message_time_ns": Band(100, 200, 300),
    }
    return chip_of(bands, {"message_time_ns": "fitted"})


def test_one_core_a_layer() -> None:
    network, counts = two_layers()
    result = latency(network, counts, chip(), {"a": 1, "out": 1}, chips=1)
    # a step of one sample: a: 0.6 synops, 2 updates, 0.4 messages; out: 1.2, 3 and 0.2
    a = [0.6 * 5 + 2 * 1 + 0.4 * 100, 0.6 * 10 + 2 * 2 + 0.4 * 200, 0.6 * 15 + 2 * 3 + 0.4 * 300]
    out_low = 1.2 * 10 + 3 * 1 + 0.2 * 100
    assert result.latency_us.low == pytest.approx(5 * (1 + (a[0] + out_low) / 10 / 1000))
    assert result.latency_us.nominal == pytest.approx(5 * (2 + a[1] / 1000))
    assert result.latency_us.high == pytest.approx(5 * (3 + a[2] / 1000))
    assert result.grade == "fitted"
    assert "host" in result.note


def test_more_cores_share_the_work_of_a_layer() -> None:
    network, counts = two_layers()
    result = latency(network, counts, chip(), {"a": 2, "out": 1}, chips=1)
    # a on two cores, 45 ns each at nominal 90; out on one: 1.2 · 20 + 3 · 2 + 0.2 · 200 = 70
    assert result.latency_us.nominal == pytest.approx(5 * (2 + 0.070))


def test_shipped_chips_have_what_it_needs() -> None:
    network, counts = two_layers()
    for name in ChipSpec.names():
        chip = ChipSpec.load(name)
        band = latency(network, counts, chip, {"a": 1, "out": 1}, chips=1).latency_us
        assert 0 < band.low < band.nominal < band.high
