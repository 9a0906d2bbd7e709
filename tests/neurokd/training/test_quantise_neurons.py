"""Integers forward, as the emulator has them; the float model's gradient backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurokd.export.float_network import FloatPopulation
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import DenseProjection
from neurokd.neurons import LIF
from neurokd.training.quantise_neurons import QuantisedNeurons

STEPS, BATCH, SIZE = 6, 40, 12


def neurons(neuron: LIFPopulation, bias: np.ndarray, scale: float) -> QuantisedNeurons:
    kind = "spiking" if neuron.spiking else "accumulator"
    return QuantisedNeurons(FloatPopulation("n", neuron.shape, kind, bias), neuron, scale)  # type: ignore[arg-type]


def population(**fields: int | bool) -> LIFPopulation:
    values = {"du": 4095, "dv": 2048, "vth": 300} | fields
    return LIFPopulation("n", (SIZE,), bias_mant=np.zeros(SIZE, np.int32), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dv": 1234},
        {"du": 1000, "dv": 77},
        {"dv": 0},
        {"vth": 131071, "spiking": False, "dv": 0},
    ],
)
def test_states_are_the_emulator_s(fields: dict[str, int | bool]) -> None:
    generator = np.random.default_rng(5)
    scale = 211.0
    layer = neurons(population(**fields), generator.normal(size=SIZE), scale)
    weight = 2 * generator.integers(-100, 100, size=(SIZE, 8)).astype(np.int32)
    x = generator.integers(0, 8, size=(STEPS, BATCH, 8)).astype(np.int32)
    net = DeployedNetwork(
        (InputPopulation("x", (8,), "graded", 3), layer.deployed),
        (DenseProjection("p", "x", "n", weight),),
        "n",
        "loihi2",
        STEPS,
        {},
    )
    run = emulate(net, np.concatenate([x, np.zeros_like(x[:1])]), record=("v", "spikes"))
    # the emulated population meets its first input in step 2, and its bias in step 1
    silent = torch.zeros(1, BATCH, SIZE)
    a = torch.cat([silent, torch.from_numpy((x @ weight.T).astype(np.float32))])
    output = layer(a).detach().numpy()
    if layer.neuron.spiking:
        np.testing.assert_array_equal(output, run.records["n"]["spikes"])
        assert 0.02 < output.mean() < 0.98
    else:
        np.testing.assert_allclose(output, run.records["n"]["v"] / (64 * scale), rtol=1e-6)


def test_the_gradient_is_that_of_the_float_neuron() -> None:
    scale = 1024.0  # β = 1/2, θ = 1 and all currents are on the grid: nothing is rounded
    generator = torch.Generator().manual_seed(0)
    currents = torch.randint(-1024, 2048, (3, BATCH, SIZE), generator=generator) / scale
    weight = torch.randn(3, BATCH, SIZE, generator=generator)
    bias = torch.randint(-200, 200, (SIZE,), generator=generator) / scale
    expected, own = currents.clone().requires_grad_(), (currents * scale).requires_grad_()
    learnt = bias.clone().requires_grad_()
    spikes = LIF(0.5, 1.0)(expected + learnt)
    (spikes * weight).sum().backward()
    layer = neurons(population(vth=1024), bias.numpy(), scale)
    found = layer(own)
    assert torch.equal(found, spikes) and 0.2 < float(spikes.detach().mean()) < 0.8
    (found * weight).sum().backward()
    assert expected.grad is not None and own.grad is not None and learnt.grad is not None
    torch.testing.assert_close(own.grad * scale, expected.grad)
    assert layer.bias.grad is not None
    torch.testing.assert_close(layer.bias.grad, learnt.grad)


def test_a_bias_that_is_the_same_everywhere_is_one_number_a_channel() -> None:
    neuron = LIFPopulation("n", (2, 3, 3), 4095, 2048, 9, np.zeros((2, 3, 3), np.int32))
    bias = np.broadcast_to(np.array([0.5, -0.25])[:, None, None], (2, 3, 3))
    layer = neurons(neuron, bias, 100.0)
    assert layer.bias.shape == (2, 1, 1)
    deployed = layer.deployed
    # 64 · 100 · 0.5 = 3200, which fits 13 bits
    assert deployed.bias_exp == 0 and set(deployed.bias[0].ravel()) == {3200}
    assert set(deployed.bias[1].ravel()) == {-1600}
    layer(torch.ones(2, 5, 2, 3, 3)).sum().backward()
    assert layer.bias.grad is not None and layer.bias.grad.shape == (2, 1, 1)


def test_a_bias_beyond_the_chip_s_is_held_at_its_limit() -> None:
    layer = neurons(population(), np.full(SIZE, 1e6), 100.0)
    assert set(layer.deployed.bias) == {4095 << 7}


def test_no_bias_stays_none() -> None:
    layer = neurons(population(), np.zeros(SIZE), 100.0)
    assert not layer.bias.requires_grad
