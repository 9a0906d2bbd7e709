"""`Anchored`: methods whose one part in a step is to pull the weights towards what they were."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from neurokd.continual.anchor import Anchor
from neurokd.continual.method import Batch, Method


class Anchored(Method):
    """L = weight · Σ_i A_i (θ_i − c_i)² + const; a method says what A and c are when a task ends.

    Since A and c stand still within a task, an engine may add the pull to the gradients itself.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.anchor = Anchor()

    @property
    def name(self) -> str:
        """The name of its term, and of its section in a configuration."""
        return type(self).__name__.lower()

    @property
    def pulls(self) -> bool:
        """Whether there is a term: from the second task on, unless its weight is 0."""
        return bool(self.anchor) and self.weight != 0

    def terms(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {self.name: self.weight * self.anchor.penalty(network)} if self.pulls else {}

    def state(self) -> dict[str, Tensor]:
        return self.anchor.state()

    def load_state(self, network: nn.Module, state: Mapping[str, Tensor]) -> None:
        self.anchor.load_state(state)
