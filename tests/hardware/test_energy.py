"""The three-term energy against hand-derived sums and one measurement on silicon."""

from __future__ import annotations

import numpy as np
import pytest
from two_layers import chip_of, lif, two_layers

from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.counts import Counts, PopulationCounts, ProjectionCounts
from neurokd.hardware.energy import energy_lines, population_energy
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation
from neurokd.hardware.projection import DenseProjection


def chip() -> ChipSpec:
    bands = {
        "synaptic_operation_dense_energy_pj": Band(1, 2, 4),
        "synaptic_operation_conv_energy_pj": Band(3, 5, 7),
        "neuron_update_energy_pj": Band(10, 20, 30),
        "message_energy_pj": Band(0, 100, 200),
        "static_power_mw": Band(1, 2, 3),
        "management_power_mw": Band(0, 1, 1),
    }
    grades = {
        "synaptic_operation_conv_energy_pj": "fitted",
        "neuron_update_energy_pj": "pre-silicon",
        "management_power_mw": "assumed",
    }
    return chip_of(bands, grades)


def test_lines_by_hand() -> None:
    network, counts = two_layers()
    lines = energy_lines(network, counts, chip(), Band(10, 20, 30), chips=2)
    assert [(line.name, line.energy_pj, line.grade) for line in lines] == [
        # a sample: 3 convolution and 6 dense operations
        ("synaptic operations", Band(3 * 3 + 6 * 1, 3 * 5 + 6 * 2, 3 * 7 + 6 * 4), "fitted"),
        ("neuron updates", Band(25 * 10, 25 * 20, 25 * 30), "pre-silicon"),
        ("messages", Band(0, 6 * 100, 6 * 200), "measured"),
        # mW · µs · chips · 1000
        ("static power", Band(20_000, 80_000, 180_000), "measured"),
        ("management processors", Band(0, 40_000, 60_000), "assumed"),
    ]
    assert all("a test" in line.note for line in lines)


def test_one_population_by_hand() -> None:
    network, counts = two_layers()
    out = population_energy(network, "out", counts, chip())
    assert out.synaptic_operations_pj == Band(6, 12, 24)
    assert out.neuron_updates_pj == Band(150, 300, 450)
    assert out.messages_pj == Band(0, 100, 200)
    assert out.total_pj == Band(156, 412, 674)
    assert population_energy(network, "in", counts, chip()).total_pj == Band(0, 300, 600)


def test_keyword_spotting_on_loihi1() -> None:
    """Measured: 0.372 mJ in all in 3.37 ms, at 29.7 mW idle (Blouw 2019, one chip of that board).

    390-256-256-29, 10 steps; spike counts were not published, so every neuron fires every step: an
    upper bound on the operations. Their nominal energy is then 24 % of the measured total, and the
    powers over the measured time make up the rest.
    """
    sizes, steps = (390, 256, 256, 29), 10
    names = ["in", "a", "b", "out"]
    populations = [InputPopulation("in", (390,))]
    network = DeployedNetwork(
        (*populations, *(lif(n, (s,)) for n, s in zip(names[1:], sizes[1:], strict=True))),
        tuple(
            DenseProjection(f"to {b}", a, b, np.ones((n, m), dtype=np.int32))
            for a, b, m, n in zip(names, names[1:], sizes, sizes[1:], strict=False)
        ),
        "out",
        "loihi1",
        steps=steps,
    )
    counts = Counts(
        steps,
        1,
        {
            n: PopulationCounts(s, s * steps, 0 if n == "in" else s * steps)
            for n, s in zip(names, sizes, strict=True)
        },
        {
            p.name: ProjectionCounts(p.source, p.target, p.weight.size * steps)
            for p in network.projections
        },
    )
    assert counts.synaptic_operations == 1_728_000
    spec = ChipSpec.load("loihi1")
    lines = energy_lines(network, counts, spec, Band.exact(1e6 / 296.5), chips=1)
    by_name = {line.name: line.energy_pj for line in lines}
    # Operations alone, at the published minimum: the specification's 42 µJ of 271.5 measured.
    dynamic = sum(by_name[n].low for n in ("synaptic operations", "neuron updates", "messages"))
    assert dynamic * 1e-6 == pytest.approx(41, abs=1)
    total = Band.total(by_name.values())
    measured_pj = 0.372e9
    assert total.low < measured_pj < total.high
    assert total.nominal / measured_pj == pytest.approx(1.03, abs=0.02)
