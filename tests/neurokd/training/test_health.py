"""Rates of spikes during training, and layers that say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import snntorch
import torch
from torch import Tensor, nn

from neurokd.config import read_config
from neurokd.errors import DeadLayerError
from neurokd.models import build_model
from neurokd.neurons import LIF, CubaLIF, PerStep
from neurokd.run import RunFolder
from neurokd.training import train
from neurokd.training.health import SpikeRates, require_alive


def _network(threshold: float = 1.0) -> nn.Sequential:
    return nn.Sequential(PerStep(nn.Identity()), LIF(0.5, threshold), nn.Sequential(CubaLIF()))


def test_rates_are_spikes_by_neuron_and_step() -> None:
    network = _network()
    rates = SpikeRates(network)
    x = torch.zeros(4, 2, 5)
    x[:, 0, 0] = 2.0  # one of ten neurons, at each step; its spikes of 1 stay below CubaLIF's 1
    network(x)
    assert rates.take() == {"1": pytest.approx(0.1), "2.0": pytest.approx(0.075)}
    network(x)
    network(torch.zeros(4, 2, 5))
    assert rates.take()["1"] == pytest.approx(0.05)
    assert rates.take() == {}


def test_evaluation_is_not_counted_and_the_network_is_not_changed() -> None:
    network = _network()
    x = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0)) * 3
    plain = network(x)
    rates = SpikeRates(network)
    assert torch.equal(network(x), plain)
    before = rates.take()
    network.eval()
    network(x)
    assert before and rates.take() == {}


def test_the_hooks_go_with_their_owner() -> None:
    network = _network()
    rates = SpikeRates(network)
    assert len(network[1]._forward_hooks) == 1
    del rates
    assert not network[1]._forward_hooks


def test_every_spiking_layer_of_a_network_is_counted() -> None:
    torch.manual_seed(0)
    student = build_model(
        "convnet", spiking=True, channels=(4, 6), kernels=(3, 3), strides=(2, 2), in_channels=1
    )
    rates = SpikeRates(student)
    student(torch.rand(1, 2, 1, 12, 12).expand(3, -1, -1, -1, -1))
    found = rates.take()
    expected = [path for path, module in student.named_modules() if isinstance(module, LIF)]
    assert list(found) == expected and len(expected) == 2
    assert all(0 < rate < 1 for rate in found.values())


def test_neurons_of_snntorch_are_counted_and_readouts_are_not() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False)
            self.readout = snntorch.Leaky(beta=0.9, reset_mechanism="none")

        def forward(self, x: Tensor) -> Tensor:
            hidden, readout = self.hidden.init_leaky(), self.readout.init_leaky()
            for step in x:
                spikes, hidden = self.hidden(step, hidden)
                _, readout = self.readout(spikes, readout)
            return readout

    network = Loop()
    rates = SpikeRates(network)
    network(torch.tensor([[[2.0, 0.0]]]).expand(5, 1, 2))
    assert rates.take() == {"hidden": 0.5}


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (0.0, r"epoch 3: .*'body\.4' never spike .*lower model\.threshold"),
        (1.0, r"epoch 3: .*'body\.4' spike at every step .*raise model\.threshold"),
    ],
)
def test_a_layer_without_information_is_named(rate: float, message: str) -> None:
    require_alive({"body.1": 1e-6, "body.2": 0.999}, "epoch 3")
    with pytest.raises(DeadLayerError, match=message):
        require_alive({"body.1": 0.2, "body.4": rate}, "epoch 3")


def test_a_threshold_out_of_reach_is_found() -> None:
    network = _network(threshold=100.0)
    rates = SpikeRates(network)
    network(torch.rand(4, 2, 5))
    with pytest.raises(DeadLayerError, match="layer '1' never"):
        require_alive(rates.take(), "epoch 1")


def test_a_run_with_a_silent_layer_ends_after_its_first_epoch(
    tiny: list[str], tmp_path: Path
) -> None:
    config = read_config("mnist-student-alone", [*tiny, "model.threshold=1000"])
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(DeadLayerError, match=r"epoch 1: .*layer 'stages\.0\.1' never spike"):
        train(config, folder)
    assert '"stages.0.1": 0.0' in folder.metrics.read_text()  # to be looked at
    assert not folder.weights.exists()
