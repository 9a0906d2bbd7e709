"""lava-dl itself loads what `write_netx` wrote, and sends the spikes that the emulator sends.

Part of the suite on Python 3.10, `make test310` and so `make test-long`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from netx_networks import delayed_network, lif_network, sigma_delta_network

from neurokd.export import read_netx, write_netx
from neurokd.export.netx_layer import Integers
from neurokd.export.netx_weights import synapse_format
from neurokd.export.write_netx import netx_options
from neurokd.hardware import DeployedNetwork, emulate
from neurokd.hardware.population import CurrentInputPopulation, InputPopulation

pytestmark = [
    pytest.mark.timeout(330),
    pytest.mark.skipif(
        sys.version_info[:2] != (3, 10) or importlib.util.find_spec("lava") is None,
        reason="lava-dl runs on Python 3.10 only, and is not part of this environment",
    ),
]
CLIENT = Path(__file__).with_name("lava_dl_client.py")


@pytest.mark.parametrize("build", [lif_network, delayed_network, sigma_delta_network])
def test_same_spikes(build: Callable[[], DeployedNetwork], tmp_path: Path) -> None:
    network = build()
    path = write_netx(network, tmp_path / "a.net")
    population, steps = network.input, network.steps + network.latency
    generator = np.random.default_rng(0)
    low, high = max(population.min_value, -200), min(population.max_value, 200)
    timed = not isinstance(population, CurrentInputPopulation)
    x = generator.integers(low, high + 1, (*([steps] if timed else []), *population.shape))
    np.savez(tmp_path / "x.npz", x=x, steps=steps)
    options = json.dumps(netx_options(network))
    command = [sys.executable, str(CLIENT), str(path), options]
    command += [str(tmp_path / "x.npz"), str(tmp_path / "y.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for net in (network, read_netx(path)):
        batch = x[:, None] if timed else x[None]
        run = emulate(net, batch, steps, record=("u", "v", "spikes", "sigma"))
        # an input of messages is no layer of lava-dl's
        layers = net.populations[int(isinstance(population, InputPopulation)) :]
        with np.load(tmp_path / "y.npz") as found:
            for i, layer in enumerate(layers):
                sent = run.records[layer.name]["spikes"][:, 0]
                np.testing.assert_array_equal(sent, found[str(i)])
                assert sent.any() or layer.name == net.output
            if "v" in found:
                np.testing.assert_array_equal(run.records[net.output]["v"][-1, 0], found["v"])


def random_weights(generator: np.random.Generator) -> Integers:
    low, high = sorted(generator.integers(-256, 256, 2))
    weight = generator.integers(low, high + 1, (4, 5)) >> generator.integers(0, 8)
    step = 1 << int(generator.integers(0, 5))
    return np.asarray(np.clip(weight * step, -256, 254))


def test_weight_format_of_random_weights() -> None:
    """Against lava-dl's own function, where that gives a format that a synapse has."""
    from lava.lib.dl.netx.utils import optimize_weight_bits

    generator = np.random.default_rng(0)
    compared = 0
    for _ in range(2000):
        weight = random_weights(generator)
        if not weight.any() or weight.max() == 0:
            continue  # there lava-dl divides by zero, to infinity
        theirs, bits, exponent, _ = optimize_weight_bits(weight.copy())
        if not 1 <= bits <= 8:
            continue
        ours = synapse_format(weight, "")
        np.testing.assert_array_equal(ours.weight, theirs)
        assert (ours.num_weight_bits, ours.weight_exp) == (bits, exponent)
        compared += 1
    assert compared > 1000
