"""Multi-layer perceptrons, dense or spiking, of the same geometry."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from neurokd.errors import UsageError
from neurokd.models.form import Form
from neurokd.models.geometry import require_counts


class MLP(nn.Module):
    """Linear layers with an activation behind each, and a linear classifier; all have a bias.

    The dense form uses ReLU and maps (B, *shape) → logits (B, K). The spiking form uses LIF
    neurons and an accumulating readout and maps (T, B, *shape) → membranes (T, B, K); its logits
    are the last membrane over T. A sample holds ``inputs`` numbers, whatever its shape.

    ``stages.i`` is hidden layer i, whose output (…, sizes[i]) is no map: the losses on logits
    apply to it, those on maps do not. ``classifier`` is the last linear layer. ``dropout`` is the
    part of each hidden layer's outputs that is dropped in training; the spiking form has none.

    Raises: `UsageError` for a geometry that cannot be.
    """

    def __init__(
        self,
        inputs: int = 784,
        sizes: Sequence[int] = (256, 256),
        classes: int = 10,
        spiking: bool = False,
        beta: float = 0.5,
        threshold: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_counts("MLP", inputs=inputs, sizes=sizes, classes=classes)
        if not 0 <= dropout < 1 or (spiking and dropout):
            raise UsageError(
                "this dropout cannot be",
                where="MLP",
                expected="0 ≤ dropout < 1, and 0 where neurons spike",
                found=str(dropout),
            )
        self.spiking = spiking
        form = Form(spiking, beta, threshold)
        self.flatten = form.layer(nn.Flatten())
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    form.layer(nn.Linear(width, size)),
                    form.activation(),
                    *([nn.Dropout(dropout)] if dropout else []),
                )
                for width, size in pairwise((inputs, *sizes))
            )
        )
        self.classifier = form.layer(nn.Linear(sizes[-1], classes))
        self.readout = form.readout()

    @property
    def feature_stages(self) -> tuple[str, ...]:
        """Module paths of the hidden layers, first to last."""
        return tuple(f"stages.{i}" for i in range(len(self.stages)))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.readout(self.classifier(self.stages(self.flatten(x))))
        return scores
