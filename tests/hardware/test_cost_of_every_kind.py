"""Counts, energies and cores of every kind of population and projection, against records."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from every_kind import EVERY_KIND, delta, sigma_delta, sparse
from numpy.typing import NDArray

from neurokd.hardware import ChipSpec, DeployedNetwork, Run, emulate, map_to_cores, profile
from neurokd.hardware.population import CurrentInputPopulation, InputPopulation
from neurokd.hardware.projection import ConvProjection, Projection, SparseProjection

STEPS, SAMPLES = 6, 2
KINDS = pytest.mark.parametrize("build", EVERY_KIND, ids=lambda build: build.__name__)
Build = Callable[[], DeployedNetwork]


def run_of(network: DeployedNetwork) -> Run:
    entrance = network.input
    if isinstance(entrance, CurrentInputPopulation):
        return emulate(network, np.full((SAMPLES, 3), 300), STEPS, record=("spikes",))
    rng = np.random.default_rng(0)
    x = rng.integers(0, entrance.max_value, (STEPS, SAMPLES, *entrance.shape), endpoint=True)
    return emulate(network, x, record=("spikes",))


def synapses_of(projection: Projection) -> NDArray[np.int64]:
    """Synapses of each source neuron, walked over one by one."""
    if isinstance(projection, SparseProjection):
        return np.array([list(projection.columns).count(n) for n in range(3)])
    if isinstance(projection, ConvProjection):  # 2 × 2 over 4 × 4, into two channels
        reads = np.array([1, 2, 2, 1])
        return 2 * np.outer(reads, reads).reshape(-1)
    return np.full(projection.weight.shape[1], projection.weight.shape[0])


@KINDS
def test_counts_are_those_of_the_records(build: Build) -> None:
    network = build()
    run = run_of(network)
    sent = {
        name: np.count_nonzero(record["spikes"], axis=(0, 1)).reshape(-1)
        for name, record in run.records.items()
    }
    assert all(messages.any() for messages in sent.values())
    for population in network.populations:
        counted = run.counts.populations[population.name]
        assert counted.spikes == sent[population.name].sum()
        updates = 0 if isinstance(population, InputPopulation) else population.size
        assert counted.neuron_updates == updates * STEPS * SAMPLES
    for projection in network.projections:
        operations = run.counts.projections[projection.name].synaptic_operations
        assert operations == (sent[projection.source] * synapses_of(projection)).sum()


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
@KINDS
def test_energies_are_counts_times_constants(build: Build, chip: str) -> None:
    network, spec = build(), ChipSpec.load(chip)
    run = run_of(network)
    result = profile(network, run, chip)
    kinds = {"DenseProjection": "dense", "SparseProjection": "sparse", "ConvProjection": "conv"}
    for layer in result.layers:
        counted = run.counts.populations[layer.name]
        expected = counted.spikes * spec.band("message_energy_pj").nominal
        expected += counted.neuron_updates * spec.band("neuron_update_energy_pj").nominal
        for projection in network.incoming(layer.name):
            kind = kinds[type(projection).__name__]
            each = spec.band(f"synaptic_operation_{kind}_energy_pj").nominal
            expected += run.counts.projections[projection.name].synaptic_operations * each
        assert layer.energy_pj.nominal == pytest.approx(expected / SAMPLES)
    assert result.energy_pj.low > 0 and result.latency.latency_us.low > 0
    assert set(result.cores.by_population) == set(map_to_cores(network, chip).cores_of)


@KINDS
def test_whatever_is_updated_has_a_core(build: Build) -> None:
    network = build()
    (core,) = map_to_cores(network).cores
    updated = [p for p in network.populations if not isinstance(p, InputPopulation)]
    assert [part.population for part in core.slices] == [p.name for p in updated]
    assert core.use.neurons == sum(p.size for p in updated)
    assert core.use.threshold_configurations == len(updated)
    sources = sum(network.population(p.source).size for p in network.projections)
    # no synapse leaves the second input of the sparse network
    assert core.use.input_axons == sources - (build is sparse)


def test_a_comparison_that_no_chip_could_run_is_called_one() -> None:
    for build, names in ((sigma_delta, "in, a, out"), (delta, "in, out")):
        network = build()
        run = run_of(network)
        (note,) = [n for n in profile(network, run, "loihi1").notes if "graded" in n]
        assert names in note
        assert not any("no graded" in n for n in profile(network, run, "loihi2").notes)
    network = sparse()
    assert not any("graded" in n for n in profile(network, run_of(network), "loihi1").notes)
