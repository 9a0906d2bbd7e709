"""`Inertia`: what moves all weights in every step, and not those of active neurons alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from neurokd.continual.anchored import Anchored
from neurokd.continual.sparse_layer import hidden_layer
from neurokd.errors import FileFormatError
from neurokd.models.sdmlp import SDMLP

_PARTS = {"weights": "hidden.0.weight", "readout": "classifier.weight"}
"""W and Vᵀ, as the engine has them, and the names of their parameters."""


class _Pull(NamedTuple):
    """2 w A and c of the weights of a part."""

    stiffness: Tensor
    centre: Tensor


class Inertia:
    """Momentum of W (r, d) and Vᵀ (r, K), and the pull of a method on them.

    Equation: g = ∂L/∂θ + 2 w A (θ − c), clipped; m ← μ m + g; θ ← θ − rate · m. m begins at 0.
    It stands for one task: then A and c are others.
    """

    def __init__(self, network: SDMLP, momentum: float, method: Anchored | None) -> None:
        layer = hidden_layer(network)
        shapes = {"weights": layer.weight, "readout": layer.classifier.t()}
        self.keep = momentum
        self.moving = {part: torch.zeros(like.shape) for part, like in shapes.items() if momentum}
        self.pulls: dict[str, _Pull] = {}
        self.offset = 0.0
        if method is not None and method.pulls:
            anchor, factor = method.anchor, method.weight
            self.offset = factor * anchor.offset
            for part, name in _PARTS.items():
                stiffness, centre = 2 * factor * anchor.importance[name], anchor.centre[name]
                if part == "readout":
                    stiffness, centre = stiffness.t(), centre.t()
                self.pulls[part] = _Pull(stiffness.contiguous(), centre.contiguous())

    @property
    def moves_all(self) -> bool:
        """Whether a weight without a gradient may move."""
        return bool(self.moving or self.pulls)

    def whole(
        self, part: str, theta: Tensor, gradient: Tensor, rows: Tensor | None
    ) -> tuple[Tensor, float]:
        """∂L/∂θ with the pull, where ``gradient`` has no pull and only these rows, or all; and what
        the pull adds to L but for a constant."""
        value = 0.0
        if part in self.pulls:
            stiffness, centre = self.pulls[part]
            away = theta - centre
            found = stiffness * away
            value = 0.5 * float(torch.dot(found.flatten(), away.flatten()))
        elif rows is None:
            return gradient, value
        else:
            found = torch.zeros_like(theta)
        return found.add_(gradient) if rows is None else found.index_add_(0, rows, gradient), value

    def descend(self, part: str, theta: Tensor, gradient: Tensor, rate: float, clip: float) -> None:
        """A step along ``clip`` · ``gradient``, of θ in place."""
        if self.keep:
            moving = self.moving[part].mul_(self.keep).add_(gradient, alpha=clip)
            theta.sub_(moving, alpha=rate)
        else:
            theta.sub_(gradient, alpha=rate * clip)

    def state(self) -> dict[str, Tensor]:
        """The momentum, by part."""
        return dict(self.moving)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave. Raises: `FileFormatError` if it is another network's."""
        shapes = {part: tuple(value.shape) for part, value in self.moving.items()}
        found = {part: tuple(value.shape) for part, value in state.items()}
        if found != shapes:
            raise FileFormatError(
                "the momentum belongs to another learner",
                where="last.ckpt",
                expected=str(shapes),
                found=str(found),
                remedy="start without --resume",
            )
        for part, value in state.items():
            self.moving[part].copy_(value)
