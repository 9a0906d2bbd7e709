"""L2: all weights stay near where they were, none more than another."""

from __future__ import annotations

import torch
from torch import nn

from neurokd.config.continual import L2Config
from neurokd.continual.anchor import Anchor, trained_weights
from neurokd.continual.anchored import Anchored
from neurokd.data.stream import Task


class L2(Anchored):
    """Equation: L = weight · Σ_i (θ_i − θ*_i)², θ* the weights at the end of the last task.

    The importance is 1 however many tasks there were. Source: the baseline of Bricken et al. 2023.
    """

    def __init__(self, options: L2Config | None = None) -> None:
        self.options = options or L2Config()
        super().__init__(self.options.weight)

    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        ones = {name: torch.ones_like(w) for name, w in trained_weights(network).items()}
        self.anchor = Anchor()
        self.anchor.move(network, ones)
