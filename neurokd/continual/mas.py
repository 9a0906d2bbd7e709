"""MAS: weights to which the answers to past samples are sensitive stay where they were."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from neurokd.config.continual import MASConfig
from neurokd.continual.anchor import Anchor
from neurokd.continual.frozen import evaluating
from neurokd.continual.method import Batch, Method
from neurokd.continual.sensitivity import output_sensitivity
from neurokd.data.stream import Task

_BATCH = 512
"""Samples whose gradients are summed at once; the result does not depend on it."""


class MAS(Method):
    """Memory-aware synapses.

    Equation: at the end of a task Ω_i += mean_{x in D_t} |∂‖z(x)‖²/∂θ_i|, of single samples;
    L = weight · Σ_i Ω_i (θ_i − θ*_i)², θ* the weights at the end of the last task.
    Source: Aljundi et al. 2018 (arXiv 1711.09601), section 4.1.
    """

    def __init__(self, options: MASConfig | None = None) -> None:
        self.options = options or MASConfig()
        self.anchor = Anchor()

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if not self.anchor or not self.options.weight:
            return {}
        return {"mas": self.options.weight * self.anchor.penalty(network)}

    def end_task(self, network: nn.Module, task: Task, generator: torch.Generator) -> None:
        device = next(network.parameters()).device
        order = torch.arange(len(task.train)).split(_BATCH)
        batches = (task.train.batch(chosen)[0].to(device) for chosen in order)
        with evaluating(network):
            self.anchor.move(network, output_sensitivity(network, batches))

    def state(self) -> dict[str, Tensor]:
        return self.anchor.state()

    def load_state(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        self.anchor.load_state(state)
