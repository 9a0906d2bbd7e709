"""Latency against a busiest core worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec, Constant
from neurokd.hardware.counts import Counts, PopulationCounts, ProjectionCounts
from neurokd.hardware.latency import latency
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import DenseProjection


def chip() -> ChipSpec:
    bands = {
        "usable_cores_per_chip": Band.exact(10),
        "step_overhead_us": Band(1, 2, 3),
        "synaptic_operation_dense_time_ns": Band(10, 20, 30),
        "neuron_update_time_ns": Band(1, 2, 3),
        "message_time_ns": Band(100, 200, 300),
    }
    grades = {"message_time_ns": "fitted"}
    constants = {
        name: Constant(name, band, "", "test", "none", grades.get(name, "measured"), "M")
        for name, band in bands.items()
    }
    return ChipSpec("test", "a chip for tests", constants)


def case() -> tuple[DeployedNetwork, Counts]:
    def lif(name: str, size: int) -> LIFPopulation:
        return LIFPopulation(name, (size,), 4095, 0, 1, np.zeros(size, dtype=np.int32))

    network = DeployedNetwork(
        (InputPopulation("in", (2,)), lif("a", 4), lif("out", 2)),
        (
            DenseProjection("ia", "in", "a", np.ones((4, 2), dtype=np.int32)),
            DenseProjection("ao", "a", "out", np.ones((2, 4), dtype=np.int32)),
        ),
        "out",
        "loihi2",
        steps=5,
    )
    counts = Counts(
        steps=5,
        samples=2,
        populations={
            "in": PopulationCounts(2, 10, 0),
            "a": PopulationCounts(4, 20, 40),
            "out": PopulationCounts(2, 10, 20),
        },
        projections={
            "ia": ProjectionCounts("in", "a", 40),
            "ao": ProjectionCounts("a", "out", 40),
        },
    )
    return network, counts


def test_one_core_a_layer() -> None:
    network, counts = case()
    result = latency(network, counts, chip(), {"a": 1, "out": 1}, chips=1)
    # a step of one sample: a: 4 synops, 4 updates, 2 messages; out: 4 synops, 2 updates, 1 message
    a = [4 * 10 + 4 * 1 + 2 * 100, 4 * 20 + 4 * 2 + 2 * 200, 4 * 30 + 4 * 3 + 2 * 300]
    out_low = 4 * 10 + 2 * 1 + 1 * 100
    assert result.latency_us.low == pytest.approx(5 * (1 + (a[0] + out_low) / 10 / 1000))
    assert result.latency_us.nominal == pytest.approx(5 * (2 + a[1] / 1000))
    assert result.latency_us.high == pytest.approx(5 * (3 + a[2] / 1000))
    assert result.grade == "fitted"
    assert "host" in result.note


def test_more_cores_share_the_work_of_a_layer() -> None:
    network, counts = case()
    result = latency(network, counts, chip(), {"a": 2, "out": 1}, chips=1)
    # a on two cores, 244 ns each at nominal 488; out on one: 4 · 20 + 2 · 2 + 200 = 284
    assert result.latency_us.nominal == pytest.approx(5 * (2 + 0.284))


def test_shipped_chips_have_what_it_needs() -> None:
    network, counts = case()
    for name in ChipSpec.names():
        chip = ChipSpec.load(name)
        band = latency(network, counts, chip, {"a": 1, "out": 1}, chips=1).latency_us
        assert 0 < band.low < band.nominal < band.high
