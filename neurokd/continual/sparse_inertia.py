"""`Inertia`: what moves all weights in every step, and not those of active neurons alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokd.config.continual import LearningConfig
from neurokd.continual.anchored import Anchored
from neurokd.continual.kept_shapes import require_shapes
from neurokd.continual.sparse_layer import hidden_layer
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

    def __init__(
        self, network: SDMLP, learning: LearningConfig, method: Anchored | None = None
    ) -> None:
        layer = hidden_layer(network)
        self.learning = learning
        self.moving: dict[str, Tensor] = {}
        if learning.momentum:
            self.moving["weights"] = torch.zeros(layer.weight.shape)
            self.moving["readout"] = torch.zeros(layer.classifier.t().shape)
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

    def step(
        self,
        weights: Tensor,
        readout: Tensor,
        weight_gradient: Tensor,
        readout_gradient: Tensor,
        rows: Tensor | None = None,
    ) -> float:
        """A step of W and Vᵀ in place, with SDMLP's constraints applied behind it.

        The gradients are those of the loss without the pull, of all neurons or of ``rows``.
        Returns what the pull adds to the loss.
        """
        learning, value = self.learning, self.offset
        moved = []
        for part, theta, found in (
            ("weights", weights, weight_gradient),
            ("readout", readout, readout_gradient),
        ):
            gradient, added = self._gradient(part, theta, found, rows)
            moved.append((part, theta, gradient))
            value += added
        clip = 1.0
        if learning.clip_norm:
            squares = sum(float(g.square().sum(dim=1).double().sum()) for _, _, g in moved)
            clip = min(1.0, learning.clip_norm / (math.sqrt(squares) + 1e-6))
        for part, theta, gradient in moved:
            if self.moving:
                moving = self.moving[part].mul_(learning.momentum).add_(gradient, alpha=clip)
                theta.sub_(moving, alpha=learning.learning_rate)
            else:
                theta.sub_(gradient, alpha=learning.learning_rate * clip)
            theta.clamp_(min=0)
        F.normalize(weights, dim=1, out=weights)
        return value

    def _gradient(
        self, part: str, theta: Tensor, found: Tensor, rows: Tensor | None
    ) -> tuple[Tensor, float]:
        """∂L/∂θ with the pull, of all rows, and what the pull adds to L but for a constant."""
        value = 0.0
        if part in self.pulls:
            stiffness, centre = self.pulls[part]
            away = theta - centre
            gradient = stiffness * away
            value = 0.5 * float(torch.dot(gradient.flatten(), away.flatten()))
        elif rows is None:
            return found, value
        else:
            gradient = torch.zeros_like(theta)
        return gradient.add_(found) if rows is None else gradient.index_add_(0, rows, found), value

    def state(self) -> dict[str, Tensor]:
        """The momentum, by part."""
        return dict(self.moving)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave. Raises: `FileFormatError` if it is another network's."""
        shapes = {part: tuple(value.shape) for part, value in self.moving.items()}
        require_shapes(state, shapes, "momentum")
        for part, value in state.items():
            self.moving[part].copy_(value)
