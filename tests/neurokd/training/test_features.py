"""Feature maps are kept by a hook that goes with the object that keeps them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurokd.errors import UsageError
from neurokd.training.features import StageFeatures


def test_the_last_output_of_a_stage_is_handed_out_once() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))
    features = StageFeatures(network, "1.0")
    network(torch.rand(5, 3))
    x = torch.rand(2, 3)
    network(x)
    torch.testing.assert_close(features.take(), torch.relu(network[0](x)))
    with pytest.raises(AssertionError):
        features.take()


def test_the_hook_goes_with_its_owner() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    first, second = StageFeatures(network, "1"), StageFeatures(network, "1")
    assert len(network[1]._forward_hooks) == 2
    del first
    network(torch.rand(2, 3))
    assert second.take().shape == (2, 4) and len(network[1]._forward_hooks) == 1
    del second
    assert not network[1]._forward_hooks


def test_a_stage_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no such stage.*'body'"):
        StageFeatures(nn.Sequential(nn.ReLU()), "body")
