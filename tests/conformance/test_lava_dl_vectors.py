"""Against the networks and ground truths that the lava-dl 0.6.0 wheel carries with its own tests.

The wheel is downloaded once and unpacked to the cache; it is never imported. Ground truths of
PilotNet LIF come from Intel's chip, the others from lava-dl's simulators. Axes are turned from
lava-dl's (W, H, C, T), or torch's (C, H, W, T), to (T, C, H, W).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neurokd.cache import cache_folder
from neurokd.export import read_netx
from neurokd.hardware import DeployedNetwork, emulate
from neurokd.hardware.population import (
    DeltaInputPopulation,
    InputPopulation,
    LIFPopulation,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection

WHEEL = "lava_dl-0.6.0-py3-none-any.whl"
SHA256 = "bcb448f2bb85dc0da4b4dbbbae16543d2a978c1da7279acc522ad621fc68c437"
INSIDE = "tests/lava/lib/dl/netx/"
ON_CHIP = 128
"""v of a neuron that has just spiked: the chip counts the refractory delay in its place."""


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of lava-dl's test data, unpacked from its wheel."""
    folder = cache_folder() / f"lava-dl-vectors-{SHA256[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if not folder.is_dir():
            _unpack(folder)
    return folder


def _unpack(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
    command += ["--no-deps", "--python-version", "3.10", "--only-binary", ":all:", "lava-dl==0.6.0"]
    with tempfile.TemporaryDirectory() as downloaded:
        done = subprocess.run([*command, "-d", downloaded], capture_output=True, text=True)
        wheel = Path(downloaded) / WHEEL
        if done.returncode or not wheel.is_file():
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            # as `unavailable` of tests/conftest.py: in CI everything has to be there
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(f"the lava-dl wheel cannot be downloaded: {reason}")
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != SHA256:
            pytest.fail(f"{WHEEL} has sha256 {found}, not {SHA256}")
        beside = folder.with_suffix(".partial")
        shutil.rmtree(beside, ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.startswith(INSIDE) and member.endswith((".net", ".npy")):
                    archive.extract(member, beside)
    os.replace(beside, folder)


def network(vectors: Path, name: str, **options: Any) -> DeployedNetwork:
    return read_netx(vectors / INSIDE / name, **options)


def chip_time(vectors: Path, name: str) -> NDArray[Any]:
    """A ground truth with time first and (C, H, W) behind it, from (W, H, C, T)."""
    return _integers(np.load(vectors / INSIDE / "gts" / name).T)


def torch_time(vectors: Path, name: str) -> NDArray[Any]:
    """A ground truth with time first, from (1, C, H, W, T)."""
    return _integers(np.moveaxis(np.load(vectors / INSIDE / "gts" / name)[0], -1, 0))


def _integers(values: NDArray[Any]) -> NDArray[Any]:
    whole = values.astype(np.int64)
    assert (whole == values).all()
    return np.asarray(whole)


def same(ours: NDArray[Any], theirs: NDArray[Any]) -> int:
    """Assert equality; how many values were compared."""
    np.testing.assert_array_equal(ours, theirs)
    return int(theirs.size)


def test_tinynet_spikes_and_currents(vectors: Path) -> None:
    """`test_hdf5.test_tinynet`, and the layers between, which its ground truths hold too.

    torch's time starts a step early in the input layer, and a step late in the last.
    """
    tiny = network(vectors, "tiny.net", reset=True)
    image = np.load(vectors / INSIDE / "gts/tinynet/input_bias.npy").T[None].astype(np.int32)
    run = emulate(tiny, image, steps=17, record=("u", "spikes"))
    at = {name: {k: v[:, 0] for k, v in kept.items()} for name, kept in run.records.items()}
    compared = same(at["0.input"]["spikes"][:15], torch_time(vectors, "tinynet/input.npy")[1:])
    currents = 64 * torch_time(vectors, "tinynet/current.npy")
    compared += same(at["1.conv"]["u"][:16], currents)
    spikes = torch_time(vectors, "tinynet/layer1.npy")
    compared += same(at["1.conv"]["spikes"][1:16], spikes[1:])
    compared += same(at["2.conv"]["spikes"][2:17], torch_time(vectors, "tinynet/output.npy")[1:])
    assert compared == 38_844


def test_input_transform(vectors: Path) -> None:
    """`test_hdf5.test_input_transform`."""
    population = network(vectors, "tiny.net").input
    assert (population.scale, getattr(population, "offset", None)) == (36.0, 34.0)


def test_ntidigits_axonal_delays(vectors: Path) -> None:
    """`test_hdf5.test_axonal_delay_ntidigits`, but all 3,000 steps; lava-dl compares one.

    Its ground truth is one step late.
    """
    ntidigits = network(vectors, "gts/ntidigits/ntidigits.net", num_layers=5)
    events = chip_time(vectors, "ntidigits/input.npy")[:, None, None, None]
    run = emulate(ntidigits, events)
    truth = chip_time(vectors, "ntidigits/output.npy")
    assert same(run.output[:-1, 0], truth[1:]) == 725_758
    assert truth.sum() == 22_572


def test_ntidigits_with_its_average(vectors: Path) -> None:
    """The last layer, which lava-dl does not run: 64 times the spikes of each class so far."""
    ntidigits = network(vectors, "gts/ntidigits/ntidigits.net")
    events = chip_time(vectors, "ntidigits/input.npy")[:400, None, None, None]
    run = emulate(ntidigits, events, record=("spikes",))
    spikes = run.records["4.dense"]["spikes"][:-1, 0].reshape(399, 11, 22)
    same(run.output[1:, 0], 64 * spikes.sum(axis=2).cumsum(axis=0))
    assert not run.output_is_spikes and run.output[-1].sum() > 0


def test_pilotnet_lif_on_the_chip(vectors: Path) -> None:
    """`test_hdf5_nx.test_pilotnet_lif`: u, v and spikes of every layer, all 24 steps.

    lava-dl's test needs a chip and looks at u of one layer after 15 steps. The recording resets
    each layer 17 steps after its start, in step 18 + depth, so that it continues with a second run.
    The last layer was recorded in another run, from step 9 on: its u does not follow from the
    spikes recorded of the layer before it. Its first eight steps agree.
    """
    pilotnet = network(vectors, "gts/pilotnet_lif/network.net", reset=True)
    image = np.load(vectors / INSIDE / "gts/pilotnet_lif/image.npy").T[None].astype(np.int32)
    run = emulate(pilotnet, image, steps=24, record=("u", "v", "spikes"))

    def recorded(name: str, variable: str) -> NDArray[Any]:
        values = run.records[name][variable][:, 0].astype(np.int64)
        restart = 17 + pilotnet.depth(name)
        if restart < 24:
            values[restart:] = run.records[name][variable][restart - 17 : 7, 0]
        return values

    assert not run.output_is_spikes  # its threshold is out of reach within 16 steps
    compared = same(recorded("0.input", "spikes"), chip_time(vectors, "pilotnet_lif/input.npy"))
    layers = [population.name for population in pilotnet.populations[1:]]
    files = [f"conv-{i}" for i in range(5)] + [f"fc-{i}" for i in range(3)]
    for name, file in zip(layers[:-1], files, strict=True):
        spikes = recorded(name, "spikes")
        compared += same(spikes, chip_time(vectors, f"pilotnet_lif/{file}.npy"))
        compared += same(recorded(name, "u"), chip_time(vectors, f"pilotnet_lif/{file}-u.npy"))
        voltage = np.where(spikes, ON_CHIP, recorded(name, "v"))
        compared += same(voltage, chip_time(vectors, f"pilotnet_lif/{file}-v.npy"))
    for variable in "uvs":
        ours = recorded(layers[-1], {"s": "spikes"}.get(variable, variable))
        truth = chip_time(vectors, f"pilotnet_lif/fc-3-{variable}.npy")
        compared += same(ours[:8], truth[:8])
    before = chip_time(vectors, "pilotnet_lif/fc-2.npy")
    last = pilotnet.incoming(layers[-1])[0]
    assert isinstance(last, DenseProjection)
    weight = last.weight >> -last.weight_exp
    truth = chip_time(vectors, "pilotnet_lif/fc-3-u.npy")
    assert (64 * before[7] @ weight.T)[0] == -1536 and truth[8, 0] == 0
    assert compared == 9_511_800


def test_pilotnet_lif_from_spikes(vectors: Path) -> None:
    """`test_hdf5_nx.test_pilotnet_lif_spike_input`: the input layer left out, its spikes given."""
    part = network(vectors, "gts/pilotnet_lif/network.net", num_layers=5, skip_layers=1, reset=True)
    assert isinstance(part.input, InputPopulation) and part.input.encoding == "spikes"
    spikes = chip_time(vectors, "pilotnet_lif/input.npy")[:17, None]
    run = emulate(part, spikes, record=("u",))
    compared = 0
    for i in range(4):
        ours = run.records[f"{i + 1}.conv"]["u"][i + 1 :, 0]
        truth = chip_time(vectors, f"pilotnet_lif/conv-{i}-u.npy")
        compared += same(ours[: 16 - i], truth[i + 1 : 17])
    assert compared == 1_799_524


def test_pilotnet_sdnn(vectors: Path) -> None:
    """`test_hdf5.test_pilotnet_sdnn`: one image, held; the decoded output of the first 9 steps."""
    pilotnet = network(vectors, "gts/pilotnet_sdnn/network.net")
    image = chip_time(vectors, "pilotnet_sdnn/input.npy")
    run = emulate(pilotnet, np.repeat(image, 9, axis=0)[:, None])
    assert same(run.output[:, 0], chip_time(vectors, "pilotnet_sdnn/output.npy")) == 9


def test_pilotnet_sdnn_spike_exponent(vectors: Path) -> None:
    """`test_hdf5.test_pilotnet_sdnn_spike_exp`, with its tolerance: messages of 2⁻⁶ the size."""
    pilotnet = network(vectors, "gts/pilotnet_sdnn/network.net", spike_exp=0)
    image = chip_time(vectors, "pilotnet_sdnn/input.npy")
    run = emulate(pilotnet, np.repeat(image, 9, axis=0)[:, None])
    truth = chip_time(vectors, "pilotnet_sdnn/output.npy") / 64
    assert np.abs(run.output[:, 0] - truth).mean() < 2 * 64


@pytest.mark.parametrize(
    ("file", "suffix", "layers", "values"),
    [("network", "", 2, 497_280), ("square_network", "_square", 4, 183_760)],
)
def test_pilotnet_sdnn_sigma(
    vectors: Path, file: str, suffix: str, layers: int, values: int
) -> None:
    """`test_hdf5_nx.test_pilotnet_sdnn(_square)`: sigma of each layer recorded, at all 20 steps."""
    part = network(vectors, f"gts/pilotnet_sdnn/{file}.net", skip_layers=1)
    assert part.input == InputPopulation("input", part.input.shape, "graded", 16, signed=True)
    messages = chip_time(vectors, "pilotnet_sdnn/act0.npy")[:, None, ..., : part.input.shape[2]]
    run = emulate(part, messages, record=("sigma",))
    compared = sum(
        same(
            run.records[f"{i}.conv"]["sigma"][:, 0],
            chip_time(vectors, f"pilotnet_sdnn/sigma{i}{suffix}.npy"),
        )
        for i in range(1, layers + 1)
    )
    assert compared == values


def test_mnist_layers(vectors: Path) -> None:
    """`test_hdf5.test_mnist`, and its last layer, which has no neurons and never spikes."""
    mnist = network(vectors, "mnist.net")
    assert [p.name for p in mnist.populations] == ["0.input", "1.dense", "2.dense", "3.dense"]
    last = mnist.population("3.dense")
    assert isinstance(last, LIFPopulation)
    assert (last.du, last.dv, last.vth, last.spiking) == (-1, 4096, 1 << 17, False)


def test_dense_block(vectors: Path) -> None:
    """`test_blocks.TestLIFBlocks.test_dense`: 2,000 steps of one layer, and its currents."""
    gts = vectors / INSIDE / "gts/dense"
    weight = np.load(gts / "weight.npy")
    neurons = LIFPopulation("o", (256,), 4095, 415, 6, np.zeros(256, np.int32))
    net = DeployedNetwork(
        (InputPopulation("i", (200,)), neurons),
        (DenseProjection("p", "i", "o", weight),),
        output="o",
        chip="loihi2",
        steps=1,
    )
    run = emulate(net, chip_time(vectors, "dense/in.npy")[:, None], record=("u",))
    compared = same(run.output[:, 0], chip_time(vectors, "dense/out.npy"))
    current = 64 * chip_time(vectors, "dense/current.npy")
    assert compared + same(run.records["o"]["u"][:, 0], current) == 1_024_000


def test_sigma_delta_blocks(vectors: Path) -> None:
    """`test_blocks.TestSDNBlocks`: delta input, convolution and dense sum, each by itself.

    lava-dl's blocks take their input as spikes of 1 there, whatever number the message holds.
    """
    gts = vectors / INSIDE / "gts/tinynet_sdnn"
    wave = np.sin(2 * np.pi * np.arange(15) / 15)
    data = (np.load(gts / "input_bias.npy").T * wave[:, None, None, None]).astype(int)[:, None]
    delta = DeltaInputPopulation("i", (3, 16, 16), vth=20, spike_exp=6, state_exp=6)
    nowhere = DenseProjection("p", "i", "o", np.zeros((1, 768), np.int32))
    net = DeployedNetwork((delta, SigmaPopulation("o", (1,))), (nowhere,), "o", "loihi2", 1)
    messages = chip_time(vectors, "tinynet_sdnn/input.npy")
    run = emulate(net, data, record=("spikes",))
    compared = same(run.records["i"]["spikes"][:, 0], messages)

    kernel = np.load(gts / "layer1_kernel.npy").transpose(0, 3, 2, 1)[:, :, ::-1, ::-1]
    bias = np.load(gts / "layer1_bias.npy")[:, None, None]
    conv = SigmaDeltaPopulation(
        "o", (24, 6, 6), 20, np.tile(bias, (1, 6, 6)), spike_exp=6, state_exp=6
    )
    synapses = ConvProjection("p", "i", "o", kernel, stride=(2, 2))
    net = DeployedNetwork((InputPopulation("i", (3, 16, 16)), conv), (synapses,), "o", "loihi2", 1)
    padded = np.concatenate([messages, messages[:1]])[:, None]
    output = chip_time(vectors, "tinynet_sdnn/layer1.npy")
    compared += same(emulate(net, (padded != 0).astype(int)).output[:, 0], output)

    weight = np.load(gts / "layer2_weight.npy")
    net = DeployedNetwork(
        (InputPopulation("i", (864,)), SigmaPopulation("o", (100,))),
        (DenseProjection("p", "i", "o", weight),),
        output="o",
        chip="loihi2",
        steps=1,
    )
    spikes = np.load(gts / "layer1.npy").reshape(864, 16).T[:, None] != 0
    run = emulate(net, spikes.astype(int))
    compared += same(run.output[:, 0], chip_time(vectors, "tinynet_sdnn/layer2.npy"))
    assert compared == 26_944
