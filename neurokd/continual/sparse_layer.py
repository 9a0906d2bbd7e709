"""The one hidden layer of an SDMLP, as the sparse engine takes it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from neurokd.models.sdmlp import SDMLP
from neurokd.models.topk import TopK


class HiddenLayer(NamedTuple):
    """W (r, d) and V (K, r), without gradients, and the competition between them."""

    weight: Tensor
    classifier: Tensor
    winners: TopK


def hidden_layer(network: SDMLP) -> HiddenLayer:
    """The only hidden layer; it shares memory with the network."""
    (layer,), (winners,) = network.hidden, network.winners
    assert isinstance(winners, TopK)  # as SDMLP is made
    weight = layer.get_parameter("weight").detach()
    return HiddenLayer(weight, network.classifier.weight.detach(), winners)
