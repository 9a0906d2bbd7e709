"""Winners by spikes: a population that races to its threshold, and neurons that hold it back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurokd.errors import UsageError
from neurokd.models.topk import WinnerLayer

SCALE = 1 << 14
"""Integers on the chip for an activation of 1: all numbers of a circuit are made to fit it."""
_TOP_WEIGHT, _TOP_EXPONENT = 254, 7
STRONGEST = 0.99 * (_TOP_WEIGHT << _TOP_EXPONENT) / SCALE
"""What one synapse can add to a membrane at most, less what rounding may take."""
LAG = 2
"""Steps from a spike to the inhibition it causes: one to the inhibitors, one back."""
REACH = 2.0
"""Steps of the ramp by which a loser may have missed the bar and still learn."""
SLACK = 4
"""Steps that the chip may run on behind the last one, in which no silent neuron may fire."""


@dataclass(frozen=True)
class Circuit:
    """What the race is run with; ``threshold``, ``ramp`` and ``inhibition`` are in units of a.

    ``inhibitors``: neurons that count spikes, the j-th of which fires from j spikes a step on.
    """

    steps: int
    threshold: float
    ramp: float
    inhibition: float
    inhibitors: int

    def __post_init__(self) -> None:
        if self.steps < 1 or self.inhibitors < 1 or self.ramp <= 0 or self.inhibition < 0:
            raise UsageError(
                "this circuit cannot be",
                where="Circuit",
                expected="steps ≥ 1, inhibitors ≥ 1, ramp > 0, inhibition ≥ 0",
                found=str(self),
            )
        if self.ramp * (self.steps + SLACK) >= self.threshold:
            raise UsageError(
                "the ramp alone would reach the threshold",
                where="Circuit",
                expected=f"ramp · (steps + {SLACK}) < {self.threshold:g}",
                found=f"{self.ramp * (self.steps + SLACK):g}",
                remedy="use a smaller ramp",
            )

    @property
    def again(self) -> float:
        """What a spike gives its own neuron for the next step: enough against all inhibitors."""
        return _weight(self.threshold + self.inhibition * self.inhibitors, math.ceil)

    def on_grid(self) -> Circuit:
        """The nearest circuit of which every number is one that the chip has at `SCALE`.

        The threshold lies between two values that a membrane can have. Raises: `UsageError`.
        """
        found = replace(
            self,
            threshold=(round(self.threshold * SCALE) + 1 / 128) / SCALE,
            ramp=max(1, round(self.ramp * SCALE)) / SCALE,
            inhibition=_weight(self.inhibition, round),
        )
        if found.again * SCALE > _TOP_WEIGHT << _TOP_EXPONENT:
            raise UsageError(
                "no synapse is strong enough for a neuron to fire again",
                where="Circuit",
                expected=f"threshold + inhibition · inhibitors < "
                f"{(_TOP_WEIGHT << _TOP_EXPONENT) / SCALE:.3g}",
                found=f"{found.again:.3g}",
                remedy="use fewer inhibitors",
            )
        return found


def _weight(value: float, rounded: Callable[[float], int]) -> float:
    """A value as a synapse of 8 bits has it: an even number up to 254, times a power of two."""
    exponent = 0
    while rounded(value * SCALE / (2 << exponent)) * 2 > _TOP_WEIGHT:
        exponent += 1
    return rounded(value * SCALE / (2 << exponent)) * (2 << exponent) / SCALE


class Race(NamedTuple):
    """``times`` (B, r) int16: the step of a neuron's first spike, from 0, or T if it has none.

    ``bar`` (B, 1): the activation above which a neuron of this sample fires.
    """

    times: Tensor
    bar: Tensor


@torch.no_grad()
def race(a: Tensor, circuit: Circuit) -> Race:
    """The first to reach the threshold win, and slow down the others.

    Equation: v_0 = 0; v_t = v_{t−1} + [t = 1] a + ramp − inhibition · m_{t−2} + again · s_{t−1};
    s_t = 1[v_t > threshold]; v_t ← 0 where s_t; m_t = min(Σ s_t − Σ s_{t−1}, inhibitors). As the
    ramp alone never reaches the threshold and ``again`` always does, a neuron fires never, or at
    every step from its first spike on. With I_t the inhibition so far, it fires if
    a > min_t (threshold − t · ramp + I_t), the bar.

    Shapes: a (B, r).
    """
    v = a.clone()
    times = torch.full(a.shape, circuit.steps, dtype=torch.int16, device=a.device)
    level = torch.full((len(a), 1), circuit.threshold, dtype=a.dtype, device=a.device)
    bar = torch.full_like(level, torch.inf)
    sent: list[Tensor] = []
    for t in range(circuit.steps):
        change: Tensor | float = circuit.ramp
        if t >= LAG:
            change = circuit.ramp - circuit.inhibition * sent[t - LAG]
        v += change
        level -= change
        torch.minimum(bar, level, out=bar)
        spikes = v > circuit.threshold
        times.masked_fill_(spikes, t)
        v.masked_fill_(spikes, 0.0)
        count = spikes.sum(dim=1, keepdim=True)
        sent.append(count.clamp_(max=circuit.inhibitors).to(a.dtype))
    return Race(times, bar)


class WinnerCircuit(WinnerLayer):
    """The k winners of a sample as a spiking circuit of the chip finds them.

    Equation: h_i = (T − t_i) / T, the part of the steps in which neuron i fires, t_i from the race:
    the more it exceeds the bar, the more. The gradient is that of a bar which falls by a ramp a
    step and reaches `REACH` ramps further: ∂h_i/∂a_i := clip(1 + (a_i − bar) / (REACH ramp), 0, 1)
    / (T ramp); the bar is a constant, as I is in `TopK`.

    The circuit is in the buffer ``settings`` (threshold, ramp, inhibition), float64, and so in the
    weights. Shapes: a (B, r) → h (B, r). Raises: `UsageError`.
    """

    settings: Tensor

    def __init__(self, neurons: int, k: int, circuit: Circuit) -> None:
        super().__init__(neurons, k)
        self.steps = circuit.steps
        self.inhibitors = circuit.inhibitors
        self.register_buffer("settings", torch.zeros(3, dtype=torch.float64))
        self.set_circuit(circuit)

    @property
    def circuit(self) -> Circuit:
        """What the race is run with now."""
        threshold, ramp, inhibition = self.settings.tolist()
        return Circuit(self.steps, threshold, ramp, inhibition, self.inhibitors)

    def set_circuit(self, circuit: Circuit) -> None:
        """Run the race with other settings; `UsageError` for other steps or inhibitors."""
        if (circuit.steps, circuit.inhibitors) != (self.steps, self.inhibitors):
            raise UsageError(
                "this circuit has another form",
                where="WinnerCircuit",
                expected=f"{self.steps} steps, {self.inhibitors} inhibitors",
                found=f"{circuit.steps} steps, {circuit.inhibitors} inhibitors",
            )
        self.settings.copy_(
            torch.tensor([circuit.threshold, circuit.ramp, circuit.inhibition], dtype=torch.float64)
        )

    def forward(self, a: Tensor) -> Tensor:
        winners: Tensor = _Winners.apply(a, self.circuit)  # type: ignore[no-untyped-call]
        return winners

    def extra_repr(self) -> str:
        return f"{self.neurons}, k={self.k}, {self.circuit}"


class _Winners(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, circuit: Circuit) -> Tensor:
        times, bar = race(a, circuit)
        ctx.save_for_backward(a, bar)
        ctx.circuit = circuit
        return (circuit.steps - times).to(a.dtype) / circuit.steps

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        a, bar = ctx.saved_tensors
        circuit: Circuit = ctx.circuit
        near = (1 + (a - bar) / (REACH * circuit.ramp)).clamp_(0, 1)
        return gradients[0] * near.div_(circuit.steps * circuit.ramp), None
