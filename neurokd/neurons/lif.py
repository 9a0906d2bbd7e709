"""Leaky integrate-and-fire neurons over a whole spike train, with the dynamics the chip has."""

from __future__ import annotations

import snntorch
import torch
from torch import Tensor, nn

from neurokd.neurons.surrogate import Surrogate, triangle
from neurokd.neurons.time_loop import spike_train

DECAY_STEPS = 4096
"""The chip's decays are multiples of 1 / 4096."""


class LIF(nn.Module):
    """snnTorch `Leaky` neurons, run over T steps from a membrane of zero.

    Equation: v ← β v + x; s = 1[v > threshold]; v ← (1 − s) v. Reset to zero in the same step is
    the only reset that both NIR and Loihi express. β lies on the chip's 12-bit grid at the start.

    ``cell`` holds β and threshold, one for all neurons or of a shape that broadcasts to a
    sample's; spikes and gradients are those of calling it step by step.

    Shapes: x (T, B, *shape) → spikes (T, B, *shape). Units: v in units of x.
    """

    def __init__(
        self,
        beta: float | Tensor = 0.5,
        threshold: float | Tensor = 1.0,
        *,
        surrogate: Surrogate | None = None,
        learn_beta: bool = False,
        learn_threshold: bool = False,
    ) -> None:
        super().__init__()
        self.surrogate = surrogate or triangle()
        self.cell = snntorch.Leaky(
            beta=on_grid(beta),
            threshold=threshold,
            spike_grad=self.surrogate,
            learn_beta=learn_beta,
            learn_threshold=learn_threshold,
            reset_mechanism="zero",
            reset_delay=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        return spike_train(x, self.cell.beta, self.cell.threshold, self.surrogate)


def on_grid(decay: float | Tensor) -> float | Tensor:
    """The nearest decay that the chip has."""
    if isinstance(decay, Tensor):
        return torch.round(decay.detach() * DECAY_STEPS) / DECAY_STEPS
    return round(decay * DECAY_STEPS) / DECAY_STEPS
