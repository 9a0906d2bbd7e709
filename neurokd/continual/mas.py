"""MAS: weights to which the answers to past samples are sensitive stay where they were."""

from __future__ import annotations

import torch
from torch import nn

from neurokd.config.continual import MASConfig
from neurokd.continual.anchored import Anchored
from neurokd.continual.frozen import evaluating
from neurokd.continual.sensitivity import output_sensitivity
from neurokd.data.stream import Task

_BATCH = 512
"""Samples whose gradients are summed at once; the result does not depend on it."""


class MAS(Anchored):
    """Memory-aware synapses.

    Equation: at the end of a task Ω_i += mean_{x in D_t} |∂‖z(x)‖²/∂θ_i|, of single samples;
    L = weight · Σ_i Ω_i (θ_i − θ*_i)², θ* the weights at the end of the last task.
    Source: Aljundi et al. 2018 (arXiv 1711.09601), section 4.1.
    """

    def __init__(self, options: MASConfig | None = None) -> None:
        self.options = options or MASConfig()
        super().__init__(self.options.weight)

    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        device = next(network.parameters()).device
        order = torch.arange(len(task.train)).split(_BATCH)
        batches = (task.train.batch(chosen)[0].to(device) for chosen in order)
        with evaluating(network):
            self.anchor.move(network, output_sensitivity(network, batches))
