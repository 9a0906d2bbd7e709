"""The host layer: exact integers, rounded once, saturated, kept in the network's file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from neurokd.errors import FileFormatError, NeurokdError, ShapeMismatchError, UsageError
from neurokd.hardware.host_layer import HostLayer
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import CurrentInputPopulation, LIFPopulation
from neurokd.hardware.projection import DenseProjection

RNG = np.random.default_rng(0)


def dense(**changes: Any) -> HostLayer:
    """m = (3 x₀ − 5 x₁ + 2 · 4 + 4) >> 3 and (x₀ + x₁ + 4) >> 3, for x in quarters."""
    fields: dict[str, Any] = {
        "name": "host",
        "shape": (2,),
        "target": (2,),
        "weight": np.array([[3, -5], [1, 1]], dtype=np.int32),
        "bias": np.array([2, 0], dtype=np.int32),
        "bias_shift": 2,
        "scale": 4.0,
        "shift": 3,
        "bits": 4,
    }
    return HostLayer(**(fields | changes))


def test_the_integers_by_hand() -> None:
    # x = (2.5, 1.25) is (10, 5): 30 − 25 + 8 + 4 = 17 → 2; 15 + 4 = 19 → 2
    # x = (0, 3.75) is (0, 15): −75 + 12 = −63 → −8, the floor; 19 → 2
    found = dense().encode(np.array([[2.5, 1.25], [0.0, 3.75]]))
    assert found.tolist() == [[2, 2], [-8, 2]] and found.dtype == np.int32


def test_what_13_bits_do_not_hold_saturates() -> None:
    layer = dense(weight=np.array([[32767, 0], [-32768, 0]], dtype=np.int32), shift=1)
    assert layer.encode(np.array([[3.75, 0.0]])).tolist() == [[4095, -4096]]


def test_a_convolution_is_exact() -> None:
    weight = RNG.integers(-32768, 32768, size=(4, 1, 3, 2)).astype(np.int32)
    bias = RNG.integers(-99, 99, size=(4, 3, 3)).astype(np.int32)
    layer = HostLayer(
        "host", (2, 5, 4), (4, 3, 3), weight, bias,
        scale=65535.0, shift=20, bits=16, stride=(2, 1), padding=(1, 0), dilation=(1, 1), groups=2,
    )  # fmt: skip
    x = RNG.random((3, 2, 5, 4))
    whole = torch.from_numpy(np.rint(x * 65535)).double()
    total = F.conv2d(whole, torch.from_numpy(weight).double(), None, (2, 1), (1, 0), 1, 2)
    expected = (total.numpy().astype(np.int64) + layer.bias + (1 << 19)) >> 20
    np.testing.assert_array_equal(layer.encode(x), np.clip(expected, -4096, 4095))
    assert layer.multiplications == 24 * 9


@pytest.mark.parametrize("value", [-0.25, 4.0, np.nan])
def test_values_that_do_not_fit_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match="0 … 3.75"):
        dense().encode(np.array([[value, 0.0]]))
    if value == -0.25:
        assert dense(signed=True).encode(np.array([[value, 0.0]])).shape == (1, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": np.zeros((2, 3), dtype=np.int32)},
        {"weight": np.full((2, 2), 1 << 16, dtype=np.int32)},
        {"bias": np.zeros(3, dtype=np.int32)},
        {"shift": 0},
        {"scale": 0.0},
        {"bits": 17},
    ],
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NeurokdError, match="host"):
        dense(**changes)


def network(layer: HostLayer | None) -> DeployedNetwork:
    return DeployedNetwork(
        populations=(
            CurrentInputPopulation("first", (2,), 2048, 100),
            LIFPopulation("last", (2,), 4095, 0, 50, np.zeros(2, dtype=np.int32)),
        ),
        projections=(DenseProjection("w", "first", "last", 2 * np.eye(2, dtype=np.int32)),),
        output="last",
        chip="loihi1",
        steps=4,
        host=layer,
    )


def test_the_network_encodes_with_it_and_keeps_it_in_its_file(tmp_path: Path) -> None:
    net = DeployedNetwork.load(network(dense()).save(tmp_path / "n.safetensors"))
    x = np.array([[2.5, 1.25]])
    assert net.encode(x).tolist() == [[2, 2]]
    assert net.host is not None and net.host.weight.tolist() == [[3, -5], [1, 1]]
    assert net.chip_steps() == 5 and net.chip_steps(7) == 8
    with pytest.raises(ShapeMismatchError, match="samples, 2"):
        net.encode(np.zeros((1, 3)))
    assert DeployedNetwork.load(network(None).save(tmp_path / "m.safetensors")).host is None


def test_a_host_layer_of_another_shape_is_refused() -> None:
    layer = dense(
        target=(3,), weight=np.zeros((3, 2), dtype=np.int32), bias=np.zeros(3, dtype=np.int32)
    )
    with pytest.raises(ShapeMismatchError, match="currents"):
        network(layer)


def test_a_file_with_a_host_layer_out_of_place_is_refused(tmp_path: Path) -> None:
    path = network(dense()).save(tmp_path / "n.safetensors")
    content = path.read_bytes()
    for old, new in ((b'\\"kind\\": \\"host\\"', b'\\"kind\\": \\"conv\\"'),):
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        with pytest.raises(FileFormatError):
            DeployedNetwork.load(path)
    assert replace(network(dense()), host=None).host is None
