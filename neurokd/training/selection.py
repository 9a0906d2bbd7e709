"""`Selection`: which epoch was the best on the validation split, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Selection:
    """The best epoch so far: the highest accuracy and, among equals, the lowest loss.

    ``weights`` are its weights where they are to be kept. ``epoch`` 0: nothing was validated yet.
    """

    epoch: int = 0
    accuracy: float = 0.0
    loss: float = 0.0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, epoch: int, accuracy: float, loss: float) -> bool:
        """Take note of an epoch; whether it is the best so far."""
        better = self.epoch == 0 or (accuracy, -loss) > (self.accuracy, -self.loss)
        if better:
            self.epoch, self.accuracy, self.loss = epoch, accuracy, loss
        return better

    def keep(self, weights: Mapping[str, Tensor]) -> None:
        """Remember copies of the best epoch's weights."""
        self.weights = {name: value.detach().clone() for name, value in weights.items()}

    def is_over(self, epoch: int, patience: int) -> bool:
        """Whether ``patience`` epochs have gone by without a better one; never if that is 0."""
        return 0 < patience <= epoch - self.epoch
