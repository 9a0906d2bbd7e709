"""Linear head: the weight by which a network makes logits of its pooled features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.neurons import PerStep
from neurokd.training.features import submodule


class LinearHead:
    """The linear layers at the end of a network, as one.

    Its layer lies at ``network.classifier_path``, or at ``classifier``. A head of several layers
    with nothing between them names their module paths, first to last, in ``network.linear_head``;
    its weight is their product.

    Raises: `UsageError` for a layer that is not there, or not linear.
    """

    def __init__(self, network: nn.Module) -> None:
        single = getattr(network, "classifier_path", "classifier")
        self.layers = [_linear(network, p) for p in getattr(network, "linear_head", (single,))]

    def weight(self) -> Tensor:
        """W (K, C) of what the head computes, W F + b; gradients reach the layers."""
        product = self.layers[0].weight
        for layer in self.layers[1:]:
            product = torch.mm(layer.weight, product)
        return product


def _linear(network: nn.Module, path: str) -> nn.Linear:
    module = submodule(network, path)
    layer = module.layer if isinstance(module, PerStep) else module
    if not isinstance(layer, nn.Linear):
        raise UsageError(
            "the classifier is not a linear layer",
            where=f"{type(network).__name__}, {path!r}",
            expected="nn.Linear",
            found=type(layer).__name__,
            remedy="name it in classifier_path, or leave out catkd and mapping cam-cam",
        )
    return layer
