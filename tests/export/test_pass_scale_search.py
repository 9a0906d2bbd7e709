"""Scales keep every limit of the chip, and the readout's threshold is out of reach by proof."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from neurokd.errors import CapacityError
from neurokd.export import lower
from neurokd.export.lower import chip_scales
from neurokd.export.weight_grid import shifted
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork

RNG = np.random.default_rng(3)
RNG_SIGNED = np.random.default_rng(5)


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


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_what_a_deep_readout_forgets_costs_it_no_bits(engine: str) -> None:
    # biases above the threshold: all neurons fire from the first step on, before any input
    parts: list[nir.NIRNode] = []
    for width in (3, 3, 3, 2000):
        fire = nir.IF(np.ones(width), np.ones(width), np.zeros(width))
        parts += [nir.Affine(np.ones((width, 3)), np.full(width, 2.0)), fire]
    weight = np.random.default_rng(4).uniform(-0.2, 1.0, size=(2, 2000))
    made = nir.NIRGraph.from_list(*parts, nir.Linear(weight), nir.I(np.ones(2)))
    net = lower(made, dt=1.0, steps=1, input_bits=1)
    note = net.metadata["lowering"]["populations"]["i"]
    assert note["effective_bits"] > 6.9
    readout = net.population("i")
    assert readout.start_step == 6
    run = emulate(net, net.padded(np.ones((1, 1, 3), np.int32)), record=("v",), engine=engine)
    limit = readout.vth << 6
    (projection,) = net.incoming("i")
    stored = shifted(projection.weight, projection.weight_exp)
    # before its first input v passes the limit, of which nothing is left afterwards
    assert "threshold" in {o.variable for o in run.overflows}
    assert all(o.step < readout.start_step for o in run.overflows)
    v = run.records["i"]["v"]
    np.testing.assert_array_equal(v[-1], 64 * stored.sum(axis=1)[None])
    worst = 64 * np.maximum(stored, 0).sum(axis=1).max()
    assert 0.5 * limit < worst <= note["proven_bound"] < limit


def test_the_bound_knows_that_inputs_may_be_negative() -> None:
    weight = RNG_SIGNED.normal(size=(3, 50))
    samples = RNG_SIGNED.uniform(-1, 1, size=(20, 50))
    net = lower(graph(weight, 0.0, nir.I(np.full(3, 1e4))), steps=5, calibration=samples)
    bound = net.metadata["lowering"]["populations"]["i"]["proven_bound"]
    largest = int(np.abs(net.encode(samples)).max())
    (projection,) = net.projections
    worst = np.sign(projection.weight).astype(np.int32)[None] * largest
    x = np.concatenate([np.repeat(worst, 5, axis=0), np.zeros((1, 3, 50), np.int32)])
    peak = int(np.abs(emulate(net, x, record=("v",)).records["i"]["v"]).max())
    assert 0.9 * bound < peak <= bound < net.population("i").vth << 6


def test_the_bound_follows_leak_and_synapse() -> None:
    # Σ over 6 steps of u, v of a current of 1: u ← u / 2 + 1, v ← 3 v / 4 + u
    weight = np.full((1, 4), 0.25)
    neuron = nir.CubaLI(
        tau_mem=np.array([4.0]), tau_syn=np.array([2.0]), r=np.array([4.0]),
        v_leak=np.zeros(1), w_in=np.array([2.0]),
    )  # fmt: skip
    made = nir.NIRGraph.from_list(nir.Linear(weight), neuron)
    net = lower(made, dt=1.0, steps=6, input_bits=1)
    note = net.metadata["lowering"]["populations"]["cubali"]
    run = emulate(net, net.padded(np.ones((6, 1, 4), np.int32)), record=("v",))
    peak = int(run.records["cubali"]["v"].max())
    # the chip rounds both decays towards zero, by less than a unit a step
    assert 0 <= note["proven_bound"] - peak < 4 * 6 * 2


def test_weights_that_would_all_round_to_zero_are_an_error() -> None:
    with pytest.raises(CapacityError, match="threshold"):
        lower(graph(RNG.uniform(0, 1e-3, size=(4, 50)), 0.0, lif(4, 200.0)), steps=4)


def test_no_scale_at_all_is_an_error_that_names_the_limits() -> None:
    weight = RNG.normal(size=(2, 10))
    with pytest.raises(CapacityError, match="'lif'.*bias"):
        lower(graph(weight, 1e6, lif(2, 1e-3)), steps=2)


def two_sources(small: float) -> nir.NIRGraph:
    """A hidden layer and a projection past it that is ``small`` times as strong."""
    first, second, beside = (RNG.normal(size=(6, 6)) for _ in range(3))
    nodes = {
        "input": nir.Input(np.array([6])),
        "up": nir.Linear(first),
        "hidden": lif(6, 1.0),
        "on": nir.Linear(second),
        "past": nir.Linear(beside * small),
        "out": lif(6, 1.0),
        "output": nir.Output(np.array([6])),
    }
    edges = [("input", "up"), ("up", "hidden"), ("hidden", "on"), ("on", "out")]
    edges += [("input", "past"), ("past", "out"), ("out", "output")]
    return nir.NIRGraph(nodes, edges)


def layers(net: DeployedNetwork, population: str) -> dict[str, Any]:
    found: dict[str, Any] = net.metadata["lowering"]["populations"][population]["projections"]
    return found


@pytest.mark.parametrize("bits", [3, 8])
def test_projections_that_share_a_population_have_exponents_of_their_own(bits: int) -> None:
    graph = two_sources(1 / 16)
    samples = RNG.integers(0, 2, size=(20, 6))
    net = lower(graph, steps=4, calibration=samples, input_bits=1, weight_bits=bits)
    notes = layers(net, "out")
    assert 3 <= notes["on"]["exponent"] - notes["past"]["exponent"] <= 5
    for name, note in notes.items():
        weight = np.asarray(graph.nodes[name].weight)
        assert note["effective_bits"] > bits - 1
        # nothing but rounding: half a step of its own grid
        worst = note["resolution"] / 2 if not note["fraction_clipped"] else np.inf
        projection = next(p for p in net.projections if p.name == name)
        scale = net.metadata["lowering"]["populations"]["out"]["scale"]
        found = projection.weight * 2.0**projection.weight_exp / scale
        assert np.abs(found - weight).max() <= worst + 1e-9


def test_a_projection_of_its_own_that_fills_the_grid_has_no_exponent() -> None:
    net = lower(graph(RNG.normal(size=(4, 50)), 0.0, lif(4, 1.0)), steps=4, input_bits=1)
    assert {note["exponent"] for note in layers(net, "lif").values()} == {0}


def test_a_scale_that_a_limit_keeps_small_leaves_the_weights_their_bits() -> None:
    # the bias allows A ≤ 131: of 4-bit weights in steps of 32 few would be left
    weight = RNG.uniform(-0.5, 0.5, size=(4, 50))
    net = lower(graph(weight, 62.0, lif(4, 1e2)), steps=4, input_bits=1, weight_bits=4)
    (note,) = layers(net, "lif").values()
    assert note["exponent"] < 0 and note["effective_bits"] > 3.9
    assert note["resolution"] < 0.5 / 7
    # on the grid the shift rounds nothing: every current is Σ (W 2^e) s exactly
    (projection,) = net.projections
    x = RNG.integers(0, 2, size=(1, 20, 50)).astype(np.int32)
    silent = np.zeros_like(x)
    u = emulate(net, np.concatenate([x, silent]), record=("u",)).records["lif"]["u"][1]
    whole = projection.weight * 2.0 ** note["exponent"]
    np.testing.assert_array_equal(u, 64 * (x[0] @ whole.T))


def test_the_percentile_method_clips_what_is_rare() -> None:
    weight = RNG.normal(size=(20, 100))
    weight[3, 7] = 40.0
    made = graph(weight, 0.0, lif(20, 1.0))
    notes = {
        method: layers(
            lower(made, steps=4, input_bits=1, weight_bits=4, scale_method=method), "lif"
        )["affine"]
        for method in ("percentile", "mse")
    }
    assert 0 < notes["percentile"]["fraction_clipped"] <= 0.002
    assert notes["mse"]["rms_weight_error"] <= notes["percentile"]["rms_weight_error"]


def test_calibration_decides_whose_weights_matter() -> None:
    # source 0 has a weight far beyond the others and never sends anything
    weight = RNG.normal(size=(20, 100))
    weight[:, 0] = 30.0
    samples = RNG.integers(0, 2, size=(50, 100))
    samples[:, 0] = 0
    made = graph(weight, 0.0, lif(20, 1.0))
    blind, seen = (
        layers(lower(made, steps=4, calibration=c, input_bits=1, weight_bits=4), "lif")["affine"]
        for c in (None, samples)
    )
    assert blind["fraction_clipped"] < 0.01 <= seen["fraction_clipped"]
    assert seen["resolution"] < blind["resolution"] / 2


def test_no_membrane_of_the_chip_meets_the_float_threshold() -> None:
    weight = RNG.normal(size=(4, 50))
    net = lower(graph(weight, 0.0, lif(4, 0.7)), steps=4, input_bits=1)
    scale, population = chip_scales(net)["lif"], net.population("lif")
    # v in steps of 1/64: the float threshold lies between n and the next value
    assert scale * 0.7 == pytest.approx(population.vth + 1 / 128)


def test_layers_have_the_bits_that_they_are_given() -> None:
    net = lower(two_sources(0.5), steps=4, input_bits=1, weight_bits={"on": 3, "past": 5})
    assert {p.name: p.num_weight_bits for p in net.projections} == {"up": 8, "on": 3, "past": 5}
    assert {n: v["bits"] for n, v in layers(net, "out").items()} == {"on": 3, "past": 5}
    for p in net.projections:
        np.testing.assert_array_equal(p.weight, p.effective_weight)


def test_given_scales_and_exponents_give_the_same_integers_back() -> None:
    made = two_sources(1 / 16)
    net = lower(made, steps=4, input_bits=1, weight_bits=3)
    exponents = {p.name: p.weight_exp for p in net.projections}
    again = lower(
        made, steps=4, input_bits=1, weight_bits=3, scales=chip_scales(net), exponents=exponents
    )
    for before, after in zip(net.projections, again.projections, strict=True):
        np.testing.assert_array_equal(before.weight, after.weight)
        assert before.weight_exp == after.weight_exp
