"""`Anchor`: a quadratic pull of the weights towards what they were, stronger where it matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neurokd.errors import FileFormatError


def trained_weights(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that training changes, by name."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


class Anchor:
    """Σ_i A_i (θ_i − c_i)² + C, with an importance A_i and a centre c_i of every weight.

    Several penalties Σ_t F_t (θ − θ_t*)² are one of this form, A = Σ F_t and c = Σ F_t θ_t* / A, so
    that memory does not grow with the tasks. c and C are updated as a running mean and its
    variance are: nothing cancels.
    """

    def __init__(self) -> None:
        self.importance: dict[str, Tensor] = {}
        self.centre: dict[str, Tensor] = {}
        self.offset = 0.0

    def __bool__(self) -> bool:
        return bool(self.centre)

    @torch.no_grad()
    def add(self, network: nn.Module, importance: Mapping[str, Tensor]) -> None:
        """Add the penalty of ``importance`` ≥ 0 around the weights as they are now."""
        for name, weight in trained_weights(network).items():
            new = importance[name]
            old = self.importance.get(name, torch.zeros_like(new))
            centre = self.centre.get(name, weight)
            total = old + new
            share = torch.where(total > 0, new / total, torch.zeros_like(total))
            self.offset += float((old * share * (weight - centre) ** 2).double().sum())
            self.centre[name] = centre + share * (weight - centre)
            self.importance[name] = total

    @torch.no_grad()
    def move(self, network: nn.Module, importance: Mapping[str, Tensor]) -> None:
        """Add to the importances, and pull towards the weights as they are now alone.

        What would be below 0 becomes 0: a weight is pulled back, or not, but never pushed away.
        """
        for name, weight in trained_weights(network).items():
            old = self.importance.get(name)
            total = importance[name] + (0 if old is None else old)
            self.importance[name] = total.clamp(min=0)
            self.centre[name] = weight.clone()

    def penalty(self, network: nn.Module) -> Tensor:
        """The value for the weights as they are now, with a graph."""
        parts: list[Tensor] = [
            _Pull.apply(weight, self.importance[name], self.centre[name])  # type: ignore[no-untyped-call]
            for name, weight in trained_weights(network).items()
        ]
        return torch.stack(parts).sum() + self.offset

    def state(self) -> dict[str, Tensor]:
        """All of it, by name; nothing before the first task has ended."""
        if not self:
            return {}
        return {
            "offset": torch.tensor(self.offset, dtype=torch.float64),
            **{f"importance.{name}": value for name, value in self.importance.items()},
            **{f"centre.{name}": value for name, value in self.centre.items()},
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave. Raises: `FileFormatError` if a part is missing."""
        self.importance = under("importance.", state)
        self.centre = under("centre.", state)
        if self.importance.keys() != self.centre.keys() or bool(self) != ("offset" in state):
            raise FileFormatError(
                "the state of an anchor is not complete",
                expected="offset, and importance and centre of the same weights",
                found=", ".join(sorted(state)[:4]),
            )
        self.offset = float(state["offset"]) if self else 0.0


class _Pull(torch.autograd.Function):
    """Σ A (θ − c)², whose gradient 2 A (θ − c) is nearly there once the value is: half the passes
    over the weights that the operations one by one would make."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, importance: Tensor, centre: Tensor) -> Tensor:
        away = weight - centre
        pull = importance * away
        ctx.save_for_backward(pull)
        return torch.dot(pull.flatten(), away.flatten())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (pull,) = ctx.saved_tensors
        return pull * (2 * grad), None, None


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries whose names begin with ``prefix``, without it."""
    return {key[len(prefix) :]: v for key, v in state.items() if key.startswith(prefix)}
