"""The readout: a membrane that only integrates, and never spikes."""

from __future__ import annotations

from torch import Tensor, nn


class Accumulator(nn.Module):
    """Non-spiking integrator, one neuron an output.

    Equation: v_t = v_{t−1} + x_t, v_0 = 0. The class is the argmax of v_T; v_T / T is the logit.

    Shapes: x (T, B, K) → v (T, B, K).
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(dim=0)
