"""Current-based leaky integrate-and-fire neurons over a whole spike train."""

from __future__ import annotations

import snntorch
from torch import Tensor, nn

from neurokd.neurons.lif import on_grid
from neurokd.neurons.surrogate import Surrogate, triangle
from neurokd.neurons.time_loop import spike_train


class CubaLIF(nn.Module):
    """snnTorch `Synaptic` neurons, run over T steps from rest.

    Equation: i ← α i + x; v ← β v + i; s = 1[v > threshold]; v ← (1 − s) v. α and β lie on the
    chip's 12-bit grid at the start.

    ``cell`` holds α, β and threshold, each for all neurons or of a shape that broadcasts to a
    sample's; spikes and gradients are those of calling it step by step.

    Shapes: x (T, B, *shape) → spikes (T, B, *shape). Units: v, i in units of x.
    """

    def __init__(
        self,
        alpha: float | Tensor = 0.5,
        beta: float | Tensor = 0.5,
        threshold: float | Tensor = 1.0,
        *,
        surrogate: Surrogate | None = None,
        learn_alpha: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
    ) -> None:
        super().__init__()
        self.surrogate = surrogate or triangle()
        self.cell = snntorch.Synaptic(
            alpha=on_grid(alpha),
            beta=on_grid(beta),
            threshold=threshold,
            spike_grad=self.surrogate,
            learn_alpha=learn_alpha,
            learn_beta=learn_beta,
            learn_threshold=learn_threshold,
            reset_mechanism="zero",
            reset_delay=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        cell = self.cell
        return spike_train(x, cell.beta, cell.threshold, self.surrogate, cell.alpha)
