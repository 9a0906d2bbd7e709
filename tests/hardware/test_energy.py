"""The three-term energy against hand-derived sums and one measurement on silicon."""

from __future__ import annotations

import numpy as np
import pytest

from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec, Constant
from neurokd.hardware.counts import Counts, PopulationCounts, ProjectionCounts
from neurokd.hardware.energy import energy_lines, population_energy
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection


def constant(name: str, band: Band, grade: str = "measured") -> Constant:
    return Constant(name, band, "", "a test", "none", grade, "M")


def chip() -> ChipSpec:
    constants = [
        constant("synaptic_operation_dense_energy_pj", Band(1, 2, 4)),
        constant("synaptic_operation_conv_energy_pj", Band(3, 5, 7), "fitted"),
        constant("neuron_update_energy_pj", Band(10, 20, 30), "pre-silicon"),
        constant("message_energy_pj", Band(0, 100, 200)),
        constant("static_power_mw", Band(1, 2, 3)),
        constant("management_power_mw", Band(0, 1, 1), "assumed"),
    ]
    return ChipSpec("test", "a chip for tests", {c.name: c for c in constants})


def lif(name: str, shape: tuple[int, ...]) -> LIFPopulation:
    return LIFPopulation(name, shape, 4095, 0, 1, np.zeros(shape, dtype=np.int32))


def small() -> tuple[DeployedNetwork, Counts]:
    network = DeployedNetwork(
        (InputPopulation("in", (1, 1, 2)), lif("a", (1, 1, 2)), lif("out", (3,))),
        (
            ConvProjection("c", "in", "a", np.ones((1, 1, 1, 1), dtype=np.int32)),
            DenseProjection("d", "a", "out", np.ones((3, 2), dtype=np.int32)),
        ),
        "out",
        "loihi2",
        steps=5,
    )
    counts = Counts(
        steps=5,
        samples=2,
        populations={
            "in": PopulationCounts(2, 6, 0),
            "a": PopulationCounts(2, 4, 20),
            "out": PopulationCounts(3, 2, 30),
        },
        projections={
            "c": ProjectionCounts("in", "a", 6),
            "d": ProjectionCounts("a", "out", 12),
        },
    )
    return network, counts


def test_lines_by_hand() -> None:
    network, counts = small()
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
    network, counts = small()
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
