"""What netx can say is written so that it reads back the same; the rest is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from netx_networks import delayed_network, lif_network, sigma_delta_network

from neurokd.errors import UnsupportedNodeError
from neurokd.export import read_netx, write_netx
from neurokd.export.write_netx import netx_options
from neurokd.hardware import DeployedNetwork, emulate
from neurokd.hardware.population import DeltaPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection, SparseProjection

NETWORKS = {
    "lif": lif_network,
    "lif from step 1": lambda: lif_network(start=False),
    "delayed": delayed_network,
    "sigma-delta": sigma_delta_network,
}
WEIGHT_FORMAT = ("weight", "weight_exp", "num_weight_bits", "sign_mode")


def contribution(projection: DenseProjection | ConvProjection) -> Any:
    """What one message adds, as exactly as a float can say it."""
    if isinstance(projection, ConvProjection):
        return projection.effective_weight
    return projection.effective_weight * 2.0**projection.weight_exp


def assert_same(ours: DeployedNetwork, theirs: DeployedNetwork, formats: bool) -> None:
    """Equal in every field, metadata and, unless ``formats``, the form of weights left out."""
    names = ("output", "chip", "steps")
    assert [getattr(ours, n) for n in names] == [getattr(theirs, n) for n in names]
    pairs: list[tuple[Any, Any]] = [*zip(ours.populations, theirs.populations, strict=True)]
    pairs += zip(ours.projections, theirs.projections, strict=True)
    for one, other in pairs:
        assert type(one) is type(other)
        for field in fields(one):
            if field.name in WEIGHT_FORMAT and not formats:
                continue
            np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name))
    for mine, his in zip(ours.projections, theirs.projections, strict=True):
        assert not isinstance(mine, SparseProjection) and not isinstance(his, SparseProjection)
        np.testing.assert_array_equal(contribution(mine), contribution(his))


@pytest.mark.parametrize("name", NETWORKS)
def test_read_is_what_was_written(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    first = read_netx(write_netx(network, tmp_path / "a.net"))
    assert_same(first, network, formats=False)
    second = read_netx(write_netx(first, tmp_path / "b.net"))
    assert_same(second, first, formats=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_same_run(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    read = read_netx(write_netx(network, tmp_path / "a.net"))
    population = network.input
    generator = np.random.default_rng(1)
    low, high = max(population.min_value, -200), min(population.max_value, 200)
    time = () if name == "delayed" else (network.steps,)
    x = generator.integers(low, high + 1, (*time, 3, *population.shape))
    one, other = (
        emulate(net, x, network.steps, record=("u", "v", "spikes", "sigma"))
        for net in (network, read)
    )
    assert one.output.any()
    for layer, kept in one.records.items():
        assert kept["spikes"].any() or not one.output_is_spikes
        for variable, values in kept.items():
            np.testing.assert_array_equal(values, other.records[layer][variable])


def test_what_lava_dl_reads(tmp_path: Path) -> None:
    """Field by field: sizes of a layer, decays as lava-dl counts them, texts as bytes."""
    path = write_netx(lif_network(), tmp_path / "a.net")
    with h5py.File(path) as file:
        layers = file["layer"]
        kinds = [layers[str(i)]["type"][()].decode() for i in range(len(layers))]
        assert kinds == ["input", "conv", "conv", "flatten", "dense_rec", "dense"]
        assert layers["0/shape"][()].tolist() == [2, 7, 6] and "neuron" not in layers["0"]
        assert layers["1/bias"].shape == (4,)  # one of each channel
        assert layers["2/bias"].shape == (4, 3, 6)  # one of each neuron, (W, H, C)
        assert layers["1/stride"][()].tolist() == [2, 1] and layers["2/groups"][()] == 2
        assert layers["4/neuron/iDecay"][()] == 2001 and layers["4/neuron/vDecay"][()] == 300
        assert layers["5/neuron/vThMant"][()] == 1 << 17
        assert file["simulation/tSample"][()] == 9


def test_options_for_lava_dl() -> None:
    assert netx_options(lif_network()) == {
        "input_message_bits": 4,
        "reset_interval": 13,
        "reset_offset": 1,
    }
    assert netx_options(delayed_network()) == {}
    assert netx_options(sigma_delta_network()) == {"spike_exp": 4}


def changed(network: DeployedNetwork, name: str, **changes: Any) -> DeployedNetwork:
    """The network with other values in the population or projection of this name."""

    def of(items: Any) -> Any:
        return tuple(replace(i, **changes) if i.name == name else i for i in items)

    return replace(
        network, populations=of(network.populations), projections=of(network.projections)
    )


def with_residual(network: DeployedNetwork) -> DeployedNetwork:
    edge = DenseProjection("skip", "two", "four", np.zeros((5, 72), np.int32))
    return replace(network, projections=(*network.projections, edge))


def with_sparse(network: DeployedNetwork) -> DeployedNetwork:
    one = np.zeros(1, np.int32)
    edge = SparseProjection("s", "mid", "out", rows=one, columns=one, weight=one)
    return replace(network, projections=(network.projections[0], edge))


def with_delta(network: DeployedNetwork) -> DeployedNetwork:
    delta = DeltaPopulation("two", (7,), 1, spike_exp=4, state_exp=6)
    populations = tuple(delta if p.name == "two" else p for p in network.populations)
    return replace(network, populations=populations)


REFUSED: list[tuple[Callable[[], DeployedNetwork], str]] = [
    (lambda: with_residual(lif_network()), "population 'four': .* several projections"),
    (lambda: with_sparse(delayed_network()), "projection 's': .* sparse synapses"),
    (lambda: with_delta(sigma_delta_network()), "population 'two': .* delta neurons"),
    (lambda: changed(lif_network(), "two", start_step=2), "population 'two': .* start step"),
    (lambda: changed(lif_network(), "two", start_step=1), "population 'two': .* start step"),
    (lambda: changed(lif_network(), "two", bias_exp=5), "population 'two': .* bias .*multiples"),
    (lambda: changed(lif_network(), "e", weight_exp=-4), "projection 'e': .* fractions of 1"),
    (lambda: changed(lif_network(), "c", weight_exp=3), "projection 'c': .* these weights"),
    (lambda: changed(lif_network(), "three", spiking=False), "'three': .* accumulator"),
    (lambda: changed(sigma_delta_network(), "one", activation="identity"), "'one': .* activation"),
    (lambda: changed(sigma_delta_network(), "two", cum_error=True), "'two': .*cum_error"),
    (lambda: changed(sigma_delta_network(), "two", state_exp=5), "'two': .* state_exp"),
    (lambda: changed(sigma_delta_network(), "two", spike_exp=5), "'two': .* exponents that differ"),
    (lambda: changed(sigma_delta_network(), "in", scale=0.5), "'in': .* scale"),
    (lambda: changed(delayed_network(), "in", bias_exp=3), "'in': .* bias_exp"),
]


@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_refused_by_name(
    build: Callable[[], DeployedNetwork], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedNodeError, match=message):
        write_netx(build(), tmp_path / "a.net")
    assert not list(tmp_path.iterdir())


def test_no_reset_is_needed_where_nothing_comes_before_the_input(tmp_path: Path) -> None:
    """A population whose ancestors have no bias may start at step 1 while others start later."""
    network = lif_network()
    first = network.population("one")
    assert isinstance(first, LIFPopulation)
    network = changed(network, "one", bias_mant=np.zeros_like(first.bias_mant), start_step=1)
    assert_same(read_netx(write_netx(network, tmp_path / "a.net")), network, formats=False)
