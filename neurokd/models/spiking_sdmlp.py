"""SDMLP in spikes: one pulse of input, a race of the hidden neurons, a readout that adds up."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.models.geometry import require_counts
from neurokd.models.sdmlp import normalised
from neurokd.models.winner_circuit import SCALE, Circuit, WinnerCircuit, race
from neurokd.neurons.accumulator import Accumulator

UNIT = 128
"""What stands for 1 in messages and in weights of W: `SCALE` is its square."""
TOP = 127
"""The largest weight on the chip, in steps of its grid."""


def messages(x: Tensor) -> Tensor:
    """Samples as whole numbers that one graded spike each can carry, 128 at most.

    Equation: round(128 x⁺ / ‖x⁺‖₂). Shapes: (B, *shape) → (B, d).
    """
    return (normalised(x.flatten(1)) * UNIT).round()


class PulseSDMLP(nn.Module):
    """What a spiking SDMLP answers to its pulse of input, without time; this is what is trained.

    Equation: a = W_q x; h = `WinnerCircuit` (a); z = V_q h, with W_q = round(128 W) / 128² and
    V_q, V in steps of a power of two, as the chip has them, both in 7 bits. What the chip
    computes is computed here, to the last bit; gradients pass through the rounding. Weights are ≥ 0
    and the rows of W have unit length, as in `SDMLP`. Shapes: messages (B, d) → z (B, K).
    """

    def __init__(self, inputs: int, size: int, classes: int, k: int, circuit: Circuit) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, size, bias=False)
        self.winners = WinnerCircuit(size, k, circuit)
        self.classifier = nn.Linear(size, classes, bias=False)
        self.constrain()

    def hidden_on_grid(self) -> Tensor:
        """W_q (r, d)."""
        exact = self.hidden.weight / UNIT
        return _rounded(exact, (exact.detach() * SCALE).round().clamp(0, TOP) / SCALE)

    def classifier_on_grid(self) -> Tensor:
        """V_q (K, r)."""
        weight = self.classifier.weight
        step = float(weight.detach().max().clamp(min=1e-30)) / TOP
        step = 2.0 ** math.ceil(math.log2(step))
        return _rounded(weight, (weight.detach() / step).round() * step)

    def activations(self, x: Tensor) -> Tensor:
        """a (B, r): cosines of the messages with the rows of W, rounded as the chip has them."""
        return F.linear(x, self.hidden_on_grid())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.winners(self.activations(x)), self.classifier_on_grid())

    @torch.no_grad()
    def constrain(self) -> None:
        """Weights ≥ 0, rows of W of unit length; a row of zeros stays."""
        for parameter in self.parameters():
            parameter.clamp_(min=0)
        self.hidden.weight.copy_(F.normalize(self.hidden.weight, dim=1))


class SpikingSDMLP(nn.Module):
    """SDMLP with a hidden population of integrate-and-fire neurons that inhibit each other.

    Equation: the messages x_1 (`messages`) arrive in the first step, and nothing later. Hidden
    membranes keep W_q x_1 and rise by a ramp, the same for all, so that the most active
    neuron fires first, and from then on; inhibitors count the neurons that begin, and lower all
    membranes (`race`). The readout is v_t = v_{t−1} + V_q s_t, its logits v_T / T.

    ``pulse`` is the same network without time, of the same weights. A winner is a neuron that
    fires within the T steps of a sample. Initialisation draws from torch's global generator.

    Shapes: x (T, B, *shape), T the circuit's → v (T, B, K). Raises: `ShapeMismatchError` for
    another T or for input after the first step.
    """

    def __init__(self, inputs: int, size: int, classes: int, k: int, circuit: Circuit) -> None:
        super().__init__()
        require_counts("SpikingSDMLP", inputs=inputs, sizes=(size,), classes=classes)
        self.inputs = inputs
        self.pulse = PulseSDMLP(inputs, size, classes, k, circuit)
        self.readout = Accumulator()

    def spikes(self, x: Tensor) -> Tensor:
        """Spikes of the hidden population: (T, B, *shape) → (T, B, r)."""
        first = self._first(x)
        circuit = self.pulse.winners.circuit
        times = race(self.pulse.activations(first), circuit).times
        steps = torch.arange(circuit.steps, device=x.device).view(-1, 1, 1)
        return (times <= steps).to(first.dtype)

    def forward(self, x: Tensor) -> Tensor:
        membranes: Tensor = self.readout(F.linear(self.spikes(x), self.pulse.classifier_on_grid()))
        return membranes

    def _first(self, x: Tensor) -> Tensor:
        steps = self.pulse.winners.steps
        if x.ndim < 3 or len(x) != steps or x[0, 0].numel() != self.inputs:
            raise ShapeMismatchError(
                "the input does not fit the network",
                where="SpikingSDMLP",
                expected=f"({steps}, B, {self.inputs})",
                found=str(tuple(x.shape)),
            )
        if bool(x[1:].any()):
            raise UsageError(
                "the input of a spiking SDMLP is one pulse",
                where="SpikingSDMLP",
                expected="zeros after the first step",
                remedy="use neurokd.continual.spiking.deployed_data",
            )
        return x[0].flatten(1)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, exact: Tensor, grid: Tensor) -> Tensor:
        return grid.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _rounded(exact: Tensor, grid: Tensor) -> Tensor:
    """The rounded values, with the gradient of the exact ones."""
    found: Tensor = _Rounded.apply(exact, grid)  # type: ignore[no-untyped-call]
    return found
