"""Form: what makes the dense and the spiking network of one geometry differ."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from neurokd.errors import UsageError
from neurokd.neurons import LIF, Accumulator, PerStep


@dataclass(frozen=True)
class Form:
    """Dense: ReLU, (B, *shape) → logits (B, K). Spiking: LIF neurons and an accumulating readout,
    (T, B, *shape) → membranes (T, B, K); the logits are the last membrane over T.

    Raises: `UsageError` for neurons that cannot be.
    """

    spiking: bool
    beta: float = 0.5
    threshold: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.beta <= 1 and 0 < self.threshold < float("inf")):
            raise UsageError(
                "there are no such neurons",
                expected="0 ≤ beta ≤ 1, threshold > 0",
                found=f"beta {self.beta}, threshold {self.threshold}",
            )

    def activation(self, threshold: float | None = None) -> nn.Module:
        """ReLU, or LIF neurons with the network's threshold unless another is given."""
        if not self.spiking:
            return nn.ReLU()
        return LIF(self.beta, self.threshold if threshold is None else threshold)

    def layer(self, layer: nn.Module) -> nn.Module:
        """A stateless layer, at every step where there are steps."""
        return PerStep(layer) if self.spiking else layer

    def readout(self) -> nn.Module:
        """What follows the classifier."""
        return Accumulator() if self.spiking else nn.Identity()


def normalised(convolution: nn.Conv2d) -> nn.Sequential:
    """A convolution and its batch normalisation."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
