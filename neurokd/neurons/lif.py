"""Leaky integrate-and-fire neurons over a whole spike train, with the dynamics the chip has."""

from __future__ import annotations

import snntorch
import torch
from torch import Tensor, nn

from neurokd.neurons.surrogate import triangle

DECAY_STEPS = 4096
"""The chip's decays are multiples of 1 / 4096."""


class LIF(nn.Module):
    """snnTorch `Leaky` neurons, run over T steps from a membrane of zero.

    Equation: v ← β v + x; s = 1[v > threshold]; v ← (1 − s) v. Reset to zero in the same step is
    the only reset that both NIR and Loihi express. β lies on the chip's 12-bit grid.

    Shapes: x (T, B, *shape) → spikes (T, B, *shape). Units: v in units of x.
    """

    def __init__(self, beta: float = 0.5, threshold: float = 1.0) -> None:
        super().__init__()
        self.cell = snntorch.Leaky(
            beta=round(beta * DECAY_STEPS) / DECAY_STEPS,
            threshold=threshold,
            spike_grad=triangle(),
            reset_mechanism="zero",
            reset_delay=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        membrane = torch.zeros_like(x[0])
        spikes = []
        for current in x:
            spike, membrane = self.cell(current, membrane)
            spikes.append(spike)
        return torch.stack(spikes)
