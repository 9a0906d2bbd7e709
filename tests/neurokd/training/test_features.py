"""Feature maps are kept by a hook that goes with the object that keeps them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.training.features import StageFeatures, feature_map


def test_the_expected_output_of_a_stage_is_handed_out_once() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    features, x = StageFeatures(network, "1.0"), torch.rand(2, 3)
    features.expect()
    network(x)
    network(torch.rand(5, 3))
    torch.testing.assert_close(features.take(), torch.relu(network[0](x)))
    network(x)
    with pytest.raises(UsageError, match="took no part"):
        features.take()


def test_the_hook_goes_with_its_owner() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    first, second = StageFeatures(network, "1"), StageFeatures(network, "1")
    assert len(network[1]._forward_hooks) == 2
    del first
    second.expect()
    network(torch.rand(2, 3))
    assert second.take().shape == (2, 4) and len(network[1]._forward_hooks) == 1
    del second
    assert not network[1]._forward_hooks


def test_a_stage_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no such module.*'body'"):
        StageFeatures(nn.Sequential(nn.ReLU()), "body")


@pytest.mark.parametrize("inplace", [False, True])
def test_a_leaf_cuts_the_network_in_two(inplace: bool) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace), nn.Linear(4, 1))
    features, x = StageFeatures(network, "0", leaf=True), torch.randn(2, 3)
    assert not network[0](x).is_leaf  # idle, unless an output is expected
    features.expect()
    logits = network(x)
    leaf = features.take()
    assert leaf.is_leaf and leaf.requires_grad
    torch.testing.assert_close(leaf.detach(), network[0](x).detach())
    (gradient,) = torch.autograd.grad(logits.sum(), leaf)
    torch.testing.assert_close(gradient, network[2].weight * (leaf > 0))
    assert network[0].weight.grad is None


def test_an_output_that_is_overwritten_is_refused() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    features = StageFeatures(network, "0")
    features.expect()
    network(torch.randn(2, 3))
    with pytest.raises(UsageError, match="in place"):
        features.take()


def test_an_output_that_is_no_tensor_is_refused() -> None:
    network = nn.Sequential(nn.LSTM(3, 4))
    kept = StageFeatures(network, "0")
    kept.expect()
    with pytest.raises(UsageError, match=r"no tensor \(found tuple"):
        network(torch.zeros(1, 2, 3))


def test_maps_stay_as_they_are() -> None:
    network, features = nn.Identity(), torch.rand(2, 3, 4, 5, 6)
    assert feature_map(network, features, spiking=True) is features
    torch.testing.assert_close(feature_map(network, features[0], spiking=False), features[0])


def test_tokens_lie_row_by_row_on_a_square() -> None:
    tokens = torch.arange(8.0).reshape(1, 1, 4, 2)  # (T, B, N = 4, C = 2): channel 0 is even
    maps = feature_map(nn.Identity(), tokens, spiking=True)
    assert maps.tolist() == [[[[[0.0, 2.0], [4.0, 6.0]], [[1.0, 3.0], [5.0, 7.0]]]]]
    torch.testing.assert_close(feature_map(nn.Identity(), tokens[0], spiking=False), maps[0])


def test_the_network_is_asked_first() -> None:
    class Oblong(nn.Module):
        def feature_map(self, features: Tensor) -> Tensor:
            return features[:, 1:].transpose(1, 2).unflatten(2, (1, 2))  # no class token

    tokens = torch.tensor([[[9.0], [1.0], [2.0]]])  # (B, N, C)
    assert feature_map(Oblong(), tokens, spiking=False).tolist() == [[[[1.0, 2.0]]]]


@pytest.mark.parametrize("shape", [(2, 3, 256), (2, 3, 5, 7)])
def test_features_without_a_map_are_refused_with_the_remedy(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatchError, match="no map.*distill.samd and distill.catkd to 0"):
        feature_map(nn.Identity(), torch.zeros(shape), spiking=True, stage="hidden")
