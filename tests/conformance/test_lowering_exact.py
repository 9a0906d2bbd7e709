"""Where all numbers lie on the chip's grid, the integer network is the float network."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from lowering_grammar import STEPS, draw

from neurokd.export import simulate_nir
from neurokd.export.lower import lowering
from neurokd.hardware.emulator import emulate
from neurokd.hardware.population import STATE_SHIFT


def compare(seed: int) -> set[str]:
    """Every spike of every layer, and the last membranes; what the graph had."""
    graph, x, features = draw(seed)
    scales = {
        name: 32.0
        for name, node in graph.nodes.items()
        if isinstance(node, (nir.IF, nir.LIF, nir.I))
    }
    scales |= {f"{name}.part{i}": 32.0 for name in scales for i in (1, 2)}
    state = lowering(graph, calibration=x, scales=scales)
    net = state.deployed
    assert net is not None
    run = emulate(net, net.padded(x.astype(np.int32)), record=("v", "spikes"), engine="torch")
    assert not run.overflows, run.overflows
    reference = simulate_nir(graph, x)
    for population in net.populations[1:]:
        late = state.depths[population.name]
        seen = run.records[population.name]
        if population.name in reference.records:
            expected = reference.records[population.name]
            if population.spiking:
                found = seen["spikes"][late : late + STEPS].reshape(expected.shape)
            else:
                found = seen["v"][late : late + STEPS] / (32 << STATE_SHIFT)
            np.testing.assert_array_equal(found, expected, err_msg=f"{seed}: {population.name}")
    features |= {"relays"} if any(p.relay for p in state.floats.populations) else set()
    features |= {"drives"} if any(p.drive for p in state.floats.populations) else set()
    return features


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_are_exact(seed: int) -> None:
    compare(seed)


def test_the_random_graphs_have_all_that_they_can() -> None:
    drawn = [draw(seed)[2] for seed in range(40)]
    expected = {
        "bias", "decays", "delay", "delays", "groups", "if", "image", "loop", "loop of images",
        "shortcut", "shortcut of images", "spiking end", "thresholds", "v_leak",
    }  # fmt: skip
    assert expected <= set().union(*drawn)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 2100, 100))
def test_many_random_graphs_are_exact(start: int) -> None:
    seen = set().union(*(compare(seed) for seed in range(start, start + 100)))
    assert {"drives", "loop", "delays", "shortcut of images"} <= seen
