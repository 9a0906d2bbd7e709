"""EWC: weights that the Fisher information of past tasks calls important stay where they were."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.config.continual import EWCConfig
from neurokd.continual.anchor import trained_weights
from neurokd.continual.anchored import Anchored
from neurokd.continual.frozen import evaluating
from neurokd.data.stream import Task


class EWC(Anchored):
    """Elastic weight consolidation, with a Fisher of each task.

    Equation: L = λ Σ_t Σ_i F_{t,i} (θ_i − θ*_{t,i})², without ½. At the end of a task, over a few
    batches: F = Σ_batches (∂/∂θ Σ_{x in batch} CE(β z(x), argmax z(x)))² / samples, the square of
    the batch's summed gradient with the network's own answers as labels. This is more than the
    mean of squared gradients of single samples; λ and β were chosen with it.

    The reference code means 5 batches, takes 6 and divides by the samples of 5: ``batches`` 6 with
    ``weight`` times 1.2 is the same. Each batch has other samples here; a small task has fewer.
    Source: Kirkpatrick et al. 2017 (arXiv 1612.00796), as in Bricken et al. 2023.
    """

    def __init__(self, options: EWCConfig | None = None) -> None:
        self.options = options or EWCConfig()
        super().__init__(self.options.weight)

    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        order = torch.randperm(len(task.train), generator=generator)
        most = self.options.batches * self.options.batch_size
        batches = [task.train.batch(b)[0] for b in order[:most].split(self.options.batch_size)]
        with evaluating(network):
            self.anchor.add(network, fisher(network, batches, self.options.beta))


def fisher(network: nn.Module, batches: list[Tensor], beta: float) -> dict[str, Tensor]:
    """Σ_batches (∂/∂θ Σ CE(β z, argmax z))² / samples, of every weight that is trained."""
    weights = trained_weights(network)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    device = next(iter(weights.values())).device
    for x in batches:
        logits = network(x.to(device))
        loss = F.cross_entropy(beta * logits, logits.detach().argmax(dim=1), reduction="sum")
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        for name, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:  # a weight that the answer does not depend on
                total[name] += gradient**2
    samples = sum(len(x) for x in batches)
    return {name: value / samples for name, value in total.items()}
