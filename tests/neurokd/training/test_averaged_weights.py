"""Averages of weights: hand-derived values, statistics, and what a checkpoint gives back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokd.errors import FileFormatError
from neurokd.neurons import LIF
from neurokd.training.averaged_weights import AveragedWeights
from neurokd.training.features import StageFeatures


def _scalar(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    _set(layer, value)
    return layer


def _set(layer: nn.Linear, value: float) -> None:
    with torch.no_grad():
        layer.weight.fill_(value)


def test_the_first_averages_are_short() -> None:
    """d_1 = 1/10, d_2 = 2/11: from 10 over 0 and 11 to 1, then to (2/11)·1 + (9/11)·11."""
    layer = _scalar(10.0)
    average = AveragedWeights(layer, 0.9)
    for value, expected in ((0.0, 1.0), (11.0, 2 / 11 + 9.0)):
        _set(layer, value)
        average.update()
        with average.applied():
            assert layer.weight.item() == pytest.approx(expected, rel=1e-6)
        assert layer.weight.item() == value


def test_the_decay_is_reached() -> None:
    layer = _scalar(0.0)
    average = AveragedWeights(layer, 0.5)  # n / (9 + n) is larger from n = 9 on
    for _ in range(20):
        average.update()
    _set(layer, 8.0)
    average.update()
    average.apply()
    assert layer.weight.item() == 4.0


def test_statistics_are_averaged_and_counts_are_not() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), LIF())
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    average = AveragedWeights(network, 0.99)
    before = norm.running_mean.clone()
    network(torch.rand(4, 1, 8, 8) + 5)
    after = norm.running_mean.clone()
    average.update()
    with average.applied():
        torch.testing.assert_close(norm.running_mean, 0.1 * before + 0.9 * after)
        assert norm.num_batches_tracked == 1
        assert float(network[2].cell.beta) == 0.5
    assert torch.equal(norm.running_mean, after)


def test_the_network_has_its_weights_back_after_an_error() -> None:
    layer = _scalar(3.0)
    average = AveragedWeights(layer, 0.9)
    _set(layer, 5.0)
    with pytest.raises(ZeroDivisionError), average.applied():
        assert layer.weight.item() == 3.0
        raise ZeroDivisionError
    assert layer.weight.item() == 5.0


def test_a_saved_state_goes_on_as_the_original() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    average = AveragedWeights(network, 0.8)

    def step() -> None:
        optimizer.zero_grad()
        network(torch.rand(6, 3)).square().sum().backward()
        optimizer.step()

    for _ in range(3):
        step()
        average.update()
    state = {name: value.clone() for name, value in average.state().items()}
    resumed = AveragedWeights(network, 0.8)
    resumed.load(state)
    step()
    average.update()
    resumed.update()
    assert average.state().keys() == resumed.state().keys()
    for name, value in average.state().items():
        assert torch.equal(value, resumed.state()[name]), name
    assert int(resumed.state()["updates"]) == 4


def test_a_state_of_another_network_is_refused() -> None:
    state = AveragedWeights(nn.Linear(2, 2), 0.9).state()
    with pytest.raises(FileFormatError, match="another network.*average.bias"):
        AveragedWeights(nn.Linear(2, 2, bias=False), 0.9).load(state)


def test_hooks_stay_the_network_s_own() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    features = StageFeatures(network, "1")
    average = AveragedWeights(network, 0.9)
    features.expect()
    with average.applied() as averaged:
        averaged(torch.rand(3, 2))
    assert features.take().shape == (3, 2)
