"""Any network of the grammar: traced, written, read and simulated, it is torch spike for spike."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import snntorch
import torch
from conformance_forms import FORMS, spikes_of
from conformance_grammar import RandomNetwork, networks
from conformance_margins import smallest_margin
from hypothesis import HealthCheck, given, settings

from neurokd.export import read_nir, simulate_nir, trace, write_nir
from neurokd.export.nir_profile import with_profile
from neurokd.neurons.surrogate import triangle

MARGIN = 1e-9
KINDS = ("LIF", "IF", "CubaLIF", "LI", "CubaLI", "Threshold", "Scale", "Delay", "Affine", "Linear")
KINDS += ("Conv1d", "Conv2d", "SumPool2d", "Flatten", "added twice")


def check(network: RandomNetwork, folder: Path, tally: Counter[str]) -> None:
    inside = network.form == "hidden, loop inside" or network.form == "explicit, loop inside"
    steps = None if inside else len(network.x)
    graph = trace(network.module, network.x[0], steps=steps, reset_none="threshold")
    graph = read_nir(write_nir(graph, folder / "network.nir"))
    x = network.x.numpy()
    run = simulate_nir(graph, x)
    tally["networks"] += 1
    tally[network.form] += 1
    if smallest_margin(graph, run) < MARGIN:
        tally["too near to a threshold"] += 1
        return
    expected = spikes_of(network.form, network.module, network.x).numpy()
    np.testing.assert_array_equal(run.output, expected)
    other = simulate_nir(with_profile(graph, "unit-r"), x)
    np.testing.assert_array_equal(other.output, expected)
    tally["with and without spikes"] += bool(0 < expected.mean() < 1)
    for node in graph.nodes.values():
        tally[type(node).__name__] += 1
    tally["added twice"] += any("_times_" in name for name in graph.nodes)


def run_property(examples: int) -> Counter[str]:
    tally: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(networks())
    def holds(network: RandomNetwork) -> None:
        check(network, Path(folder), tally)

    with tempfile.TemporaryDirectory() as folder:
        holds()
    print(dict(tally))
    # continuous weights: a near tie is an accident
    assert tally["too near to a threshold"] <= 0.02 * tally["networks"]
    assert tally["with and without spikes"] >= 0.5 * tally["networks"]
    for kind in (*FORMS, *KINDS):
        assert tally[kind] > 0, kind
    return tally


def test_traced_networks_are_the_module_spike_for_spike() -> None:
    run_property(150)


@pytest.mark.slow
def test_many_traced_networks_are_the_module_spike_for_spike() -> None:
    run_property(2000)


@pytest.mark.parametrize(("beta", "threshold"), [(0.5, 1.5), (1.0, 2.0)])
def test_an_exact_tie_does_not_fire(beta: float, threshold: float, tmp_path: Path) -> None:
    """x = 1: v = 1, then 1.5 (β = ½) or 2 (β = 1), both exactly the threshold; the third fires."""
    cell = snntorch.Leaky(
        beta=beta,
        threshold=threshold,
        spike_grad=triangle(),
        init_hidden=True,
        reset_mechanism="zero",
        reset_delay=False,
    )
    module = torch.nn.Sequential(cell).double()
    x = torch.ones(4, 1, 1, dtype=torch.double)
    graph = read_nir(write_nir(trace(module, x[0]), tmp_path / "tie.nir"))
    run = simulate_nir(graph, x.numpy())
    assert smallest_margin(graph, run) == 0
    np.testing.assert_array_equal(run.output.ravel(), [0, 0, 1, 0])
    np.testing.assert_array_equal(spikes_of(FORMS[0], module, x).ravel(), [0, 0, 1, 0])
