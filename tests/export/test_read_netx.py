"""netx files of any origin: what each layer becomes, what is refused, and hostile files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from netx_networks import LIF, SDNN, even, fill, lif_network, sigma_delta_network, write_file

from neurokd.errors import FileFormatError, NeurokdError, UnsupportedNodeError, UsageError
from neurokd.export import read_netx, write_netx
from neurokd.hardware import DeployedNetwork, emulate, simulate_lava
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    InputPopulation,
    LIFPopulation,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection

GENERATOR = np.random.default_rng(0)
DENSE: dict[str, Any] = {
    "type": "dense",
    "shape": [4, 1, 1],
    "weight": even(GENERATOR, 4, 6).astype(np.float32),
    "neuron": LIF,
}
CONV: dict[str, Any] = {
    "type": "conv",
    "shape": [3, 2, 5],
    "weight": even(GENERATOR, 3, 2, 2, 1)[..., None].astype(np.float32),
    "stride": [2, 1],
    "padding": [0, 1],
    "dilation": [1, 1],
    "groups": 1,
    "neuron": LIF,
}
INPUT: dict[str, Any] = {"type": "input", "shape": [6], "neuron": LIF, "weight": [76.0]}


def read(path: Path, layers: list[dict[str, Any]], **options: Any) -> DeployedNetwork:
    return read_netx(write_file(path / "a.net", layers), **options)


def dense(network: DeployedNetwork, name: str) -> DenseProjection:
    projection = next(p for p in network.projections if p.name == name)
    assert isinstance(projection, DenseProjection)
    return projection


def test_lif_layers(tmp_path: Path) -> None:
    bias = np.array([1.9, -2.9, 0, 5])  # lava-dl cuts fractions off
    network = read(tmp_path, [INPUT | {"bias": 64.0}, DENSE | {"bias": bias}])
    assert network.input == CurrentInputPopulation(
        "0.input", (6,), dv=128, vth=80, bias_exp=6, scale=76.0, offset=64.0
    )
    layer = network.population("1.dense")
    assert isinstance(layer, LIFPopulation)
    assert (layer.shape, layer.du, layer.dv, layer.vth) == ((4,), 1023, 128, 80)
    assert (layer.bias_exp, layer.bias_mant.tolist()) == (6, [1, -2, 0, 5])
    assert layer.spiking and layer.start_step == 1 and network.steps == 1
    synapses = dense(network, "1.dense.synapse")
    np.testing.assert_array_equal(synapses.weight * 2.0**synapses.weight_exp, DENSE["weight"])


def test_default_transform_is_64(tmp_path: Path) -> None:
    plain = {key: value for key, value in INPUT.items() if key != "weight"}
    assert read(tmp_path, [plain, DENSE]).input.scale == 64.0


def test_convolution_in_height_and_width(tmp_path: Path) -> None:
    """Asymmetric in all: shapes are (C, H, W), pairs (height, width)."""
    first = {"type": "input", "shape": [2, 4, 3]}
    bias = np.arange(30).reshape(5, 2, 3)  # (W, H, C)
    network = read(tmp_path, [first, CONV | {"bias": bias}])
    assert network.input == InputPopulation("input", (2, 4, 3))
    (synapses,) = network.projections
    assert isinstance(synapses, ConvProjection)
    assert (synapses.stride, synapses.padding) == ((2, 1), (0, 1))
    np.testing.assert_array_equal(synapses.weight, CONV["weight"][..., 0])
    layer = network.population("1.conv")
    assert isinstance(layer, LIFPopulation)
    np.testing.assert_array_equal(layer.bias_mant, bias.transpose(2, 1, 0))


def test_sigma_delta_layers(tmp_path: Path) -> None:
    layers = [
        {"type": "input", "shape": [6], "neuron": SDNN},
        DENSE | {"neuron": SDNN, "bias": np.array([7])},
        {"type": "dense", "shape": [1], "weight": [[2, 4, 6, 8]]}
        | {"neuron": SDNN | {"sigma_output": True}},
    ]
    network = read(tmp_path, layers, spike_exp=3)
    assert network.input == DeltaInputPopulation(
        "0.input", (6,), vth=3, spike_exp=3, state_exp=6, scale=64.0
    )
    layer = network.population("1.dense")
    assert isinstance(layer, SigmaDeltaPopulation)
    assert (layer.vth, layer.spike_exp, layer.state_exp) == (3, 3, 6)
    assert layer.bias.tolist() == [7] * 4 and layer.activation == "relu"
    assert network.population(network.output) == SigmaPopulation("2.dense", (1,))


def test_flatten_is_in_the_order_of_channels_rows_columns(tmp_path: Path) -> None:
    flatten = {"type": "flatten", "shape": [30, 1, 1]}
    last = DENSE | {"weight": even(GENERATOR, 4, 30)}
    image = {"type": "input", "shape": [2, 4, 3]}
    network = read(tmp_path, [image, CONV, flatten, last])
    assert [p.name for p in network.populations] == ["input", "1.conv", "3.dense"]
    with pytest.raises(UnsupportedNodeError, match="'2.dense': .*without a flatten"):
        read(tmp_path, [image, CONV, last])


def test_recurrent_layer(tmp_path: Path) -> None:
    """Both weights in one format, and the first layer's own width for the input."""
    back = even(GENERATOR, 4, 4)
    network = read(tmp_path, [DENSE | {"type": "dense_rec", "weight_rec": back}])
    assert network.input.shape == (6,)
    loop = dense(network, "0.dense_rec.recurrent")
    assert loop.recurrent and loop.weight_exp == dense(network, "0.dense_rec.synapse").weight_exp
    np.testing.assert_array_equal(loop.weight * 2.0**loop.weight_exp, back)


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (3, np.full((4, 6), 3)),
        ([1, 2, 3, 70], np.tile([[1], [2], [3], [62]], (1, 6))),  # of targets, clamped
        ([1, 2, 3, 4, 5, 6], np.tile([1, 2, 3, 4, 5, 6], (4, 1))),  # of sources
        (np.arange(24).reshape(4, 6), np.arange(24).reshape(4, 6)),
    ],
)
def test_delays(delay: Any, expected: Any, tmp_path: Path) -> None:
    network = read(tmp_path, [DENSE | {"delay": np.asarray(delay, np.float32)}])
    np.testing.assert_array_equal(dense(network, "0.dense.synapse").delays, expected)


def test_layer_without_neurons_integrates_and_never_spikes(tmp_path: Path) -> None:
    """u adds up, v is u: as lava-dl has it. Its output is v."""
    bare = {"type": "dense", "shape": [1], "weight": [[200]]}
    network = read(tmp_path, [{"type": "input", "shape": [1]}, bare])
    run = emulate(network, np.ones((2000, 1, 1), int), record=("u", "spikes"))
    u = run.records["1.dense"]["u"][:, 0, 0]
    assert u[1:4].tolist() == [200 * 64, 400 * 64, 600 * 64] and u.min() < 0  # wraps around
    np.testing.assert_array_equal(run.output[:, 0, 0], np.clip(u, 1 - (1 << 23), (1 << 23) - 1))
    assert not run.records["1.dense"]["spikes"].any() and not run.output_is_spikes


def test_highest_threshold_is_a_readout_where_it_is_out_of_reach(tmp_path: Path) -> None:
    """Σ|w| ≤ 720: after T steps |v| ≤ 720 · 64 · 4096 / 1024 · min(T, 32) is below 2²³ or not."""
    last = DENSE | {"weight": np.full((4, 6), 120), "neuron": LIF | {"vThMant": (1 << 17) - 1}}
    for steps, spiking in ((40, False), (5000, False)):
        network = read(tmp_path, [last], steps=steps)
        layer = network.population(network.output)
        assert isinstance(layer, LIFPopulation) and layer.spiking is spiking
    slow = last | {"neuron": last["neuron"] | {"vDecay": 1}}
    for steps, spiking in ((40, False), (60, True)):
        layer = read(tmp_path, [slow], steps=steps).populations[-1]
        assert isinstance(layer, LIFPopulation) and layer.spiking is spiking


def test_pool_sums_each_channel_by_itself(tmp_path: Path) -> None:
    pool = {"type": "pool", "shape": [2, 2, 1], "weight": np.full((1, 1, 2, 3), 60.0)}
    pool |= {"stride": [2, 3], "padding": [0, 0], "dilation": [1, 1], "neuron": LIF}
    network = read(tmp_path, [{"type": "input", "shape": [2, 4, 3]}, pool])
    (synapses,) = network.projections
    assert isinstance(synapses, ConvProjection) and synapses.groups == 2
    np.testing.assert_array_equal(synapses.weight, np.full((2, 1, 2, 3), 60))


def test_average_accumulates_the_spikes_of_each_share(tmp_path: Path) -> None:
    network = read(tmp_path, [DENSE, {"type": "average", "shape": [2, 1, 1]}])
    np.testing.assert_array_equal(
        dense(network, "1.average.synapse").weight > 0, [[1, 1, 0, 0], [0, 0, 1, 1]]
    )
    x = GENERATOR.integers(0, 2, (30, 2, 6))
    run = emulate(network, x, record=("spikes",))
    spikes = run.records["0.dense"]["spikes"][:-1].reshape(29, 2, 2, 2).sum(axis=3)
    np.testing.assert_array_equal(run.output[1:], 64 * spikes.cumsum(axis=0))
    assert spikes.any()


def test_part_of_a_network(tmp_path: Path) -> None:
    """A layer that is left out says what the next one receives."""
    path = write_netx(sigma_delta_network(), tmp_path / "a.net")
    part = read_netx(path, skip_layers=1, num_layers=2)
    assert part.input == InputPopulation("input", (2, 6, 6), "graded", 16, signed=True)
    assert [p.name for p in part.populations] == ["input", "1.conv"]
    path = write_file(tmp_path / "b.net", [INPUT, DENSE])
    assert read_netx(path, skip_layers=1).input == InputPopulation("input", (6,))
    with pytest.raises(UsageError, match="no layer is left"):
        read_netx(path, skip_layers=2, num_layers=1)


def test_options(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.net", [CONV], simulation={"Ts": 1, "tSample": 16})
    with pytest.raises(UsageError, match=r"a.net: layer '0.conv': .*input_shape"):
        read_netx(path)
    network = read_netx(path, input_shape=(2, 4, 3), input_message_bits=8, reset=True)
    assert network.input == InputPopulation("input", (2, 4, 3), "graded", 8, signed=True)
    assert network.steps == 16 and network.population("0.conv").start_step == 2  # type: ignore[union-attr]
    assert read_netx(path, input_shape=(2, 4, 3), steps=5).steps == 5


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (DENSE | {"neuron": LIF | {"type": "ALIF"}}, "kind ALIF .*its threshold"),
        (DENSE | {"neuron": LIF | {"type": "ADRF_PHASE"}}, "kind ADRF_PHASE .*complex"),
        (DENSE | {"neuron": LIF | {"type": "RF_PHASE"}}, "kind RF_PHASE .*complex"),
        (DENSE | {"weight": {"real": 1, "imag": 2}}, "complex weights"),
        (DENSE | {"type": "dense_comp"}, "type dense_comp"),
        (DENSE | {"type": "convT"}, "type convT"),
        (DENSE | {"type": "unpool"}, "type unpool"),
        (DENSE | {"type": "concat"}, "type concat"),
        (DENSE | {"neuron": LIF | {"refDelay": 3}}, "refractory delay"),
        (DENSE | {"neuron": LIF | {"gradedSpike": True}}, "graded spikes"),
        (DENSE | {"neuron": LIF | {"wgtExp": 2}}, "weight exponent .*wgtExp"),
        (DENSE | {"neuron": SDNN | {"activation": "tanh"}}, "activation .*tanh"),
        (DENSE | {"neuron": SDNN | {"sigma_output": True}, "bias": [1]}, "no bias"),
        (DENSE | {"neuron": LIF | {"vDecay": [1, 2, 3, 4]}}, "vDecay differs"),
        (DENSE | {"neuron": LIF | {"vDecay": 0.5}}, "vDecay cannot be read"),
        (DENSE | {"neuron": LIF | {"vDecay": 5000}}, "dv is out of range"),
        (DENSE | {"neuron": LIF | {"iDecay": -1}}, "du is out of range"),
        (DENSE | {"bias": [1, 2, 3]}, "the bias does not fit"),
        (DENSE | {"bias": [9000] * 4}, "bias_mant is out of range"),
        (DENSE | {"weight": np.full((4, 6), np.nan)}, "no 32-bit integers"),
        (DENSE | {"weight": np.full((4, 6), 1e30)}, "no 32-bit integers"),
        (DENSE | {"weight": np.ones((3, 6))}, "weight does not fit"),
        (DENSE | {"weight": np.array([[-255, 1, 0, 0, 0, 0]] * 4)}, "cannot be stored in 8 bits"),
        (DENSE | {"delay": [-1, 0, 0, 1]}, "negative"),
        (DENSE | {"delay": [1, 2]}, "delays do not fit"),
        (DENSE | {"type": "dense_rec", "weight_rec": np.ones((4, 4)), "delay": 1}, "recurrent"),
        (DENSE | {"type": "dense_rec", "weight_rec": np.ones((4, 5))}, "recurrent weight"),
        (DENSE | {"shape": [0]}, "shape cannot be read"),
        ({"type": "dense", "shape": [4]}, "has no 'weight'"),
        (DENSE | {"neuron": 3}, "neuron is no group"),
    ],
)
def test_refused_by_name(layer: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(NeurokdError, match=rf"a\.net: (layer|population) '0\..*{message}"):
        read(tmp_path, [layer])


def test_refused_convolutions(tmp_path: Path) -> None:
    image = {"type": "input", "shape": [2, 4, 3]}
    for changes, message in (
        ({"delay": [1, 0, 0]}, "a convolution with delays"),
        ({"shape": [3, 2, 4]}, "does not produce"),
        ({"groups": 2}, "groups must divide"),
        ({"stride": [0, 1]}, "stride is not a pair"),
        ({"weight": np.ones((3, 2))}, "four axes"),
    ):
        with pytest.raises(NeurokdError, match=message):
            read(tmp_path, [image, CONV | changes])


def test_no_netx_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"none\.net: no such file"):
        read_netx(tmp_path / "none.net")
    (tmp_path / "text.net").write_text("layer")
    with pytest.raises(FileFormatError, match="not a complete netx file"):
        read_netx(tmp_path / "text.net")
    with pytest.raises(FileFormatError, match="holds no netx layers"):
        read_netx(write_file(tmp_path / "empty.net", []))
    with pytest.raises(FileFormatError, match="no layer with synapses"):
        read(tmp_path, [INPUT])
    with h5py.File(tmp_path / "gap.net", "w") as file:
        fill(file.create_group("layer"), {"1": DENSE})
    with pytest.raises(FileFormatError, match="layer 0: a layer is missing"):
        read_netx(tmp_path / "gap.net")


def test_links_and_sizes_are_refused_unread(tmp_path: Path) -> None:
    """The front door is that of NIR files; these show that it stands here, too."""
    good = write_file(tmp_path / "good.net", [DENSE])
    with h5py.File(tmp_path / "link.net", "w") as file:
        file["layer"] = h5py.ExternalLink(str(good), "layer")
    with pytest.raises(FileFormatError, match="links elsewhere"):
        read_netx(tmp_path / "link.net")
    with h5py.File(tmp_path / "large.net", "w") as file:
        fill(file.create_group("layer/0"), {k: v for k, v in DENSE.items() if k != "weight"})
        shape = (1 << 16, 1 << 16)
        file["layer/0"].create_dataset("weight", shape, "f4", chunks=(64, 64), compression="gzip")
    with pytest.raises(FileFormatError, match="too large"):
        read_netx(tmp_path / "large.net")


@pytest.mark.parametrize(
    "layer",
    [
        CONV | {"shape": [3, 1 << 20, 1 << 20], "bias": 1},
        {"type": "average", "shape": [1 << 20, 1, 1]},
        {"type": "pool", "shape": [1 << 14, 1, 1], "weight": np.ones((1, 1, 80, 80))}
        | {"neuron": LIF},
    ],
)
def test_few_bytes_do_not_become_many(layer: dict[str, Any], tmp_path: Path) -> None:
    shape = [1 << 20, 1, 1] if layer["type"] != "pool" else [1 << 14, 80, 80]
    with pytest.raises(FileFormatError, match="too many (neurons|weights)"):
        read(tmp_path, [{"type": "input", "shape": shape}, layer])


def test_record_of_neurokd_is_checked(tmp_path: Path) -> None:
    path = write_netx(lif_network(), tmp_path / "a.net")
    content = path.read_bytes()
    for old, new in (
        (b'"chip": "loihi2"', b'"chip": ["oihi2]'),
        (b'"bits": 4', b'"bits": 0'),
        (b'"1.conv": "one"', b'"9.conv": "one"'),
        (b'"format": "neurokd.netx/1"', b'"format": "neurokd.netx/7"'),
        (b'"1.conv": 2', b'"1.conv": 0'),
        (b'"three"', b'"th\\n3"'),
    ):
        assert content.count(old) >= 1 and len(old) == len(new)
        path.write_bytes(content.replace(old, new))
        with pytest.raises(NeurokdError, match=re.escape(str(path))):
            read_netx(path)


def test_damaged_files_end_in_one_line(tmp_path: Path) -> None:
    """Bytes cut off or flipped: an error of neurokd's, or a network; never another exception."""
    path = write_netx(lif_network(), tmp_path / "a.net")
    content = path.read_bytes()
    generator = np.random.default_rng(5)
    refused = 0
    for i in range(150):
        damaged = bytearray(content)
        if i % 3 == 0:
            damaged = damaged[: generator.integers(1, len(content))]
        else:
            for at in generator.integers(0, len(content), 1 + i % 7):
                damaged[at] ^= 1 << int(generator.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            assert isinstance(read_netx(path), DeployedNetwork)
        except NeurokdError as error:
            refused += 1
            assert str(path) in error.line() and len(error.line()) < 1500
    assert refused > 60


@pytest.mark.lava
def test_lava_keeps_what_only_netx_files_have(tmp_path: Path) -> None:
    """du = −1, dv = 4096 and a threshold of 2¹⁷, in real Lava: every u, v and spike."""
    bare = {"type": "dense", "shape": [3], "weight": even(GENERATOR, 3, 4, limit=120)}
    network = read(tmp_path, [DENSE, bare], input_message_bits=7)
    x = GENERATOR.integers(-127, 128, (60, 2, 6))
    runs = [run(network, x, record=("u", "v", "spikes")) for run in (emulate, simulate_lava)]
    for name, kept in runs[0].records.items():
        for variable, values in kept.items():
            np.testing.assert_array_equal(values, runs[1].records[name][variable])
    assert runs[0].output.any()
