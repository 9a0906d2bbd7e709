"""Scales keep every limit of the chip, and the readout's threshold is out of reach by proof."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from neurokd.errors import CapacityError
from neurokd.export import lower
from neurokd.hardware.emulator import emulate

RNG = np.random.default_rng(3)


def graph(weight: np.ndarray, bias: float, neuron: nir.NIRNode) -> nir.NIRGraph:
    return nir.NIRGraph.from_list(nir.Affine(weight, np.full(len(weight), bias)), neuron)


def lif(n: int, threshold: float) -> nir.LIF:
    return nir.LIF(*(np.full(n, v) for v in (2e-4, 2.0, 0.0, threshold, 0.0)))


@pytest.mark.parametrize(
    ("scale", "bias", "threshold", "limit"),
    [(1.0, 0.0, 1.0, "current"), (20.0, 0.0, 1000.0, "threshold"), (1.0, 3.0, 1.0, "bias")],
)
def test_the_tightest_limit_is_kept_and_named(
    scale: float, bias: float, threshold: float, limit: str
) -> None:
    weight = RNG.uniform(0, scale, size=(4, 50))
    net = lower(graph(weight, bias, lif(4, threshold)), steps=4)
    note = net.metadata["lowering"]["populations"]["lif"]
    assert note["limited_by"] == limit
    brightest = np.full((3, 1, 50), 255, dtype=np.int32)
    run = emulate(net, brightest, record=("u",))
    assert not [o for o in run.overflows if o.variable == "u"]


def test_calibration_buys_precision() -> None:
    weight = RNG.normal(size=(4, 50))
    samples = RNG.random((20, 50)) * (RNG.random((20, 50)) < 0.1)
    made = graph(weight, 0.0, lif(4, 1.0))
    blind, seen = (
        lower(made, steps=4, calibration=c).metadata["lowering"]["populations"]["lif"]
        for c in (None, samples)
    )
    assert seen["scale"] > 1.3 * blind["scale"]
    assert seen["max_current_over_limit"] <= 0.8 * 1.01


def test_the_worst_spikes_never_reach_the_readout_s_threshold() -> None:
    weight = RNG.normal(size=(4, 200))
    net = lower(graph(weight, 0.7, nir.I(np.full(4, 1e4))), input_bits=1, steps=7)
    population = net.population("i")
    assert not population.spiking
    bound = net.metadata["lowering"]["populations"]["i"]["proven_bound"]
    assert bound < population.vth << 6
    peak = 0
    for row in net.projections[0].weight:
        for sign in (1, -1):
            worst = (sign * row > 0).astype(np.int32)
            x = np.concatenate([np.tile(worst, (7, 1, 1)), np.zeros((1, 1, 200), np.int32)])
            peak = max(peak, int(np.abs(emulate(net, x, record=("v",)).records["i"]["v"]).max()))
    # the bound is tight: the worst input reaches nearly all of it
    assert 0.98 * bound < peak <= bound


def test_weights_that_would_all_round_to_zero_are_an_error() -> None:
    with pytest.raises(CapacityError, match="threshold"):
        lower(graph(RNG.uniform(0, 1e-3, size=(4, 50)), 0.0, lif(4, 200.0)), steps=4)


def test_no_scale_at_all_is_an_error_that_names_the_limits() -> None:
    weight = RNG.normal(size=(2, 10))
    with pytest.raises(CapacityError, match="'lif'.*bias"):
        lower(graph(weight, 1e6, lif(2, 1e-3)), steps=2)
