"""A convolution and a dense layer with counts made up for them, for sums worked out by hand."""

from __future__ import annotations

import numpy as np

from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec, Constant
from neurokd.hardware.counts import Counts, PopulationCounts, ProjectionCounts
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection


def chip_of(bands: dict[str, Band], grades: dict[str, str]) -> ChipSpec:
    """A chip with these constants, "measured" unless another grade is given."""
    constants = {
        name: Constant(name, band, "", "a test", "none", grades.get(name, "measured"), "M")
        for name, band in bands.items()
    }
    return ChipSpec("test", "a chip for tests", constants)


def lif(name: str, shape: tuple[int, ...]) -> LIFPopulation:
    return LIFPopulation(name, shape, 4095, 0, 1, np.zeros(shape, dtype=np.int32))


def two_layers() -> tuple[DeployedNetwork, Counts]:
    """Five steps of two samples: 10 sample steps."""
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
