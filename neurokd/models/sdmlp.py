"""SDMLP: a multi-layer perceptron as sparse distributed memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.models.geometry import require_counts
from neurokd.models.topk import Inhibition, TopK


class SDMLP(nn.Module):
    """Hidden layers of which the k most active neurons answer, and a linear classifier.

    Equation: x ← x⁺ / ‖x⁺‖₂; h = TopK(W x), for each hidden layer; z = V h. No biases. All
    weights are ≥ 0 and the rows of each W have unit length: `constrain` makes them so, once at
    initialisation and after every step of an optimiser without momentum.

    Shapes: (B, *shape) → logits (B, K). ``hidden.i`` is layer i (weight (r, d)), ``winners.i`` its
    `TopK`, ``classifier`` the last layer (weight (K, r)).

    Initialisation is that of torch's Linear, clamped, so that about half of the weights are 0; it
    draws from torch's global generator. Raises: `UsageError` for a geometry that cannot be.
    Source: Bricken et al. 2023, "Sparse Distributed Memory is a Continual Learner".
    """

    def __init__(
        self,
        inputs: int = 784,
        sizes: Sequence[int] = (1000,),
        classes: int = 10,
        k: int = 10,
        switch_samples: int = 500_000,
        inhibition: Inhibition = "gaba",
    ) -> None:
        super().__init__()
        require_counts("SDMLP", inputs=inputs, sizes=sizes, classes=classes)
        self.inputs = inputs
        self.hidden = nn.ModuleList(
            nn.Linear(width, size, bias=False) for width, size in pairwise((inputs, *sizes))
        )
        self.winners = nn.ModuleList(TopK(size, k, switch_samples, inhibition) for size in sizes)
        self.classifier = nn.Linear(sizes[-1], classes, bias=False)
        self.constrain()

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        for layer, winners in zip(self.hidden, self.winners, strict=True):
            h = winners(layer(normalised(h)))
        logits: Tensor = self.classifier(h)
        return logits

    @torch.no_grad()
    def constrain(self) -> None:
        """Weights ≥ 0, rows of the hidden layers of unit length; a row of zeros stays."""
        for parameter in self.parameters():
            parameter.clamp_(min=0)
        for layer in self.hidden:
            weight = layer.get_parameter("weight")
            weight.copy_(F.normalize(weight, dim=1))


def normalised(x: Tensor) -> Tensor:
    """x⁺ / ‖x⁺‖₂ of each sample; (B, d) → (B, d). Without a positive number it is 0."""
    return F.normalize(x.relu(), dim=1)
