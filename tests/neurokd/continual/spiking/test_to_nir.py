"""Student, float64 simulation of its graph, emulator and Lava: the same spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from neurokd.continual.spiking.calibrate import calibrate
from neurokd.continual.spiking.to_nir import to_nir
from neurokd.export import lower
from neurokd.export.simulate_nir import simulate_nir
from neurokd.hardware.emulator import emulate
from neurokd.hardware.lava_backend import simulate_lava
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.run import RECORDABLE
from neurokd.models.spiking_sdmlp import SpikingSDMLP, messages
from neurokd.models.winner_circuit import Circuit
from neurokd.verify.divergence import compare_runs

if TYPE_CHECKING:
    from neurokd.hardware.lava_process import LavaWorker

STEPS, INPUTS, SIZE, K = 10, 40, 50, 5


def student(seed: int) -> tuple[SpikingSDMLP, Tensor]:
    """A random student with a calibrated circuit, and pulses for it."""
    torch.manual_seed(seed)
    x = messages(torch.rand(60, INPUTS) ** 2)
    net = SpikingSDMLP(INPUTS, SIZE, 4, K, Circuit(STEPS, 1.0, 0.02, 0.0, 6))
    with torch.no_grad():
        net.pulse.hidden.weight.pow_(2)
        net.pulse.constrain()
        net.pulse.winners.set_circuit(calibrate(net.pulse.activations(x), K, STEPS, 6))
    timed = torch.zeros(STEPS, 60, INPUTS)
    timed[0] = x
    return net, timed


def deployed(net: SpikingSDMLP, x: Tensor) -> DeployedNetwork:
    return lower(to_nir(net), "loihi2", calibration=x.numpy(), input_scale=1.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_graph_simulated_in_float64_spikes_as_the_student_does(seed: int) -> None:
    net, x = student(seed)
    run = simulate_nir(to_nir(net), x.numpy())
    spikes = net.spikes(x).numpy()
    assert 0 < spikes.mean() < 0.5
    assert np.array_equal(run.records["hidden"], spikes)
    assert np.abs(run.output - net(x).detach().numpy()).max() < 1e-4


@pytest.mark.parametrize("seed", range(4))
def test_the_chip_spikes_as_the_student_does_at_every_step(seed: int) -> None:
    net, x = student(seed)
    chip = deployed(net, x)
    run = emulate(
        chip, chip.padded(chip.encode(x.numpy(), STEPS, timed=True)), record=("spikes", "v")
    )
    hidden = run.aligned("hidden")["spikes"][:STEPS]
    assert np.array_equal(hidden, net.spikes(x).numpy())
    # the readout's integers are the membranes, in one unit
    v = run.output[-1] / 64
    exact = net(x)[-1].detach().numpy()
    scale = chip.metadata["lowering"]["populations"]["readout"]["scale"]
    assert np.abs(v / scale - exact).max() < 1e-4 * exact.max()
    assert not run.overflows


def test_inhibitors_fire_for_neurons_that_begin_and_not_for_those_that_go_on() -> None:
    net, x = student(0)
    run = simulate_nir(to_nir(net), x.numpy())
    hidden = run.records["hidden"].sum(axis=2)
    begun = np.diff(hidden, axis=0, prepend=0.0)
    assert np.array_equal(run.records["inhibitors"].sum(axis=2), np.minimum(begun, 6))


def test_synaptic_operations_are_the_pulse_the_winners_and_the_inhibition() -> None:
    net, x = student(2)
    chip = deployed(net, x)
    messages = chip.padded(chip.encode(x.numpy(), STEPS, timed=True))
    run = emulate(chip, messages, record=("spikes",))
    fired = {name: int(run.records[name]["spikes"].sum()) for name in ("hidden", "inhibitors")}
    # a spike reaches 4 classes, its own neuron, and 6 inhibitors twice
    expected = np.count_nonzero(messages) * SIZE
    expected += fired["hidden"] * (4 + 1 + 2 * 6) + fired["inhibitors"] * SIZE
    assert run.counts.synaptic_operations == expected


@pytest.mark.lava
def test_lava_and_the_emulator_agree_in_every_state(lava_worker: LavaWorker) -> None:
    net, x = student(1)
    chip = deployed(net, x)
    data = chip.padded(chip.encode(x[:, :5].numpy(), STEPS, timed=True))
    steps = chip.chip_steps(STEPS)
    found = simulate_lava(chip, data, steps, record=RECORDABLE, worker=lava_worker)
    identity = compare_runs(chip, emulate(chip, data, steps, record=RECORDABLE), found)
    assert identity.identical and identity.compared > 0
    assert found.records["hidden"]["spikes"].any() and found.records["inhibitors"]["spikes"].any()
