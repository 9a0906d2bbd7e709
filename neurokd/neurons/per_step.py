"""A stateless layer applied at every time step."""

from __future__ import annotations

from torch import Tensor, nn


class PerStep(nn.Module):
    """Applies ``layer`` to all steps at once, time merged into the batch.

    Batch normalisation inside it therefore takes its statistics over steps and samples together.
    An input that is one image expanded over time (stride 0) is computed once and expanded again.

    Shapes: x (T, B, *in) → (T, B, *out).
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > 1 and x.stride(0) == 0:
            once: Tensor = self.layer(x[0])
            return once.expand(x.shape[0], *once.shape)
        merged: Tensor = self.layer(x.flatten(0, 1))
        steps: Tensor = merged.unflatten(0, (x.shape[0], x.shape[1]))
        return steps
