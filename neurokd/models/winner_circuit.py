"""Winners by spikes: a population that races to its threshold, and neurons that hold it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neurokd.errors import UsageError
from neurokd.models.topk import WinnerLayer
from neurokd.neurons.surrogate import Surrogate, triangle

LAG = 2
"""Steps from a spike to the inhibition it causes: one to the inhibitors, one back."""
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


class Race(NamedTuple):
    """``times`` (B, r) int16: the step of a neuron's spike, from 0, or T if it has none.

    ``bar`` (B, 1): the activation above which a neuron of this sample fires.
    """

    times: Tensor
    bar: Tensor


@torch.no_grad()
def race(a: Tensor, circuit: Circuit) -> Race:
    """The first to reach the threshold win, and slow down the others.

    Equation: v_0 = 0; v_t = v_{t−1} + [t = 1] a + ramp − inhibition · m_{t−2};
    s_t = 1[v_t > threshold]; v_t ← 0 where s_t; m_t = min(Σ s_t, inhibitors). As the ramp alone
    never reaches the threshold, a neuron fires once or not at all. With I_t the inhibition so far,
    that is if a > min_t (threshold − t · ramp + I_t), the bar.

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

    Equation: h_i = 1 if neuron i fires in the race, else 0; ∂h_i/∂a_i := surrogate of a_i − bar,
    the bar being a constant as I is in `TopK`.

    The circuit is in the buffer ``settings`` (threshold, ramp, inhibition), float64, and so in the
    weights. Shapes: a (B, r) → h (B, r). Raises: `UsageError`.
    """

    settings: Tensor

    def __init__(
        self, neurons: int, k: int, circuit: Circuit, surrogate: Surrogate | None = None
    ) -> None:
        super().__init__(neurons, k)
        self.steps = circuit.steps
        self.inhibitors = circuit.inhibitors
        self.surrogate = surrogate or triangle(5.0)
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
        winners: Tensor = _Winners.apply(a, self.circuit, self.surrogate)  # type: ignore[no-untyped-call]
        return winners

    def extra_repr(self) -> str:
        return f"{self.neurons}, k={self.k}, {self.circuit}"


class _Winners(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, circuit: Circuit, surrogate: Surrogate) -> Tensor:
        times, bar = race(a, circuit)
        ctx.save_for_backward(a, bar)
        ctx.surrogate = surrogate
        return (times < circuit.steps).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        a, bar = ctx.saved_tensors
        return gradients[0] * ctx.surrogate.derivative(a - bar), None, None
