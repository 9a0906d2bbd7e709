"""Top-K layers: a few winners of a population, by inhibition that is subtracted or by a mask."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from neurokd.errors import UsageError

Inhibition = Literal["gaba", "subtract-decay", "mask", "mask-decay"]


class WinnerLayer(nn.Module):
    """Base of the layers in which about ``k`` of ``neurons`` answer a sample.

    A subclass maps activations (…, neurons) to activations of the same shape. What distils
    between subnetworks finds its layers by this type.
    """

    def __init__(self, neurons: int, k: int) -> None:
        super().__init__()
        if not 1 <= k < neurons:
            raise UsageError(
                "a layer cannot have so many winners",
                where=type(self).__name__,
                expected=f"1 ≤ k < {neurons}",
                found=str(k),
            )
        self.neurons = neurons
        self.k = k


class TopK(WinnerLayer):
    """The k winners of a sample, each less the (k+1)-th largest activation.

    Equation: a⁺ = max(a, 0); I = the (k+1)-th largest a⁺ of the sample, a constant for the
    gradient; h_i = max(a⁺_i − g_i I, 0). ``gaba``: g_i = clip(−1 + 2 c_i / N, −1, 1), where c_i
    counts the samples that neuron i was active for in training and N is ``switch_samples``: I
    excites at first, so that no neuron stays silent, and inhibits later. A neuron that is hardly
    ever active may never reach g = 1, so that more than k can be active.

    The others count samples s: k_s = max(k, r − (r − k) s / N) winners (``-decay``), less I as
    above (``subtract-decay``, g = 1), or as they are, all else 0 (``mask-decay``; ``mask``: k from
    the first sample on).

    Counters change in training mode only; they are buffers, and so are saved with the weights.
    Shapes: (B, r) → (B, r). Raises: `UsageError`.
    Source: Bricken et al. 2023, "Sparse Distributed Memory is a Continual Learner".
    """

    counts: Tensor
    seen: Tensor

    def __init__(
        self,
        neurons: int,
        k: int = 10,
        switch_samples: int = 500_000,
        inhibition: Inhibition = "gaba",
    ) -> None:
        super().__init__(neurons, k)
        if inhibition not in get_args(Inhibition):
            raise UsageError(
                "no such inhibition",
                expected=", ".join(get_args(Inhibition)),
                found=repr(inhibition),
            )
        if switch_samples < 1:
            raise UsageError("switch_samples must be positive", found=str(switch_samples))
        self.switch_samples = switch_samples
        self.inhibition = inhibition
        self.register_buffer("counts", torch.zeros(neurons, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def gains(self) -> Tensor:
        """g (r,): −1 excites, 0 is plain ReLU, 1 subtracts the whole inhibition."""
        if self.inhibition != "gaba":
            return torch.ones_like(self.counts, dtype=torch.get_default_dtype())
        share = self.counts.to(torch.get_default_dtype()) / self.switch_samples
        return (2.0 * share - 1.0).clamp(-1.0, 1.0)

    def winners(self) -> int:
        """k, or what the decay has left of all neurons so far."""
        if not self.inhibition.endswith("decay"):
            return self.k
        lost = (self.neurons - self.k) * int(self.seen) // self.switch_samples
        return max(self.k, self.neurons - lost)

    def forward(self, activation: Tensor) -> Tensor:
        positive = activation.relu()
        k = self.winners()
        if k >= self.neurons:
            active = positive
        else:
            inhibition = positive.detach().topk(k + 1, dim=-1).values[..., k:]
            if self.inhibition.startswith("mask"):
                active = positive * (positive.detach() > inhibition)
            else:
                active = (positive - self.gains().to(positive.dtype) * inhibition).relu()
        if self.training:
            with torch.no_grad():
                flat = active.detach().reshape(-1, self.neurons)
                self.counts += (flat > 0).sum(dim=0)
                self.seen += len(flat)
        return active

    def extra_repr(self) -> str:
        return f"{self.neurons}, k={self.k}, {self.inhibition}, N={self.switch_samples}"
