"""Evaluation of float networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokd.data import LabelledData
from neurokd.training.objective import student_logits


def predict(model: nn.Module, data: LabelledData, steps: int | None, batch: int = 200) -> Tensor:
    """Logits on all samples; ``steps`` for a spiking network, None for a dense one.

    Shapes: N samples → (N, K).
    """
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = [
            model(images) if steps is None else student_logits(model, images, steps)
            for images in torch.from_numpy(data.x).split(batch)
        ]
    model.train(training)
    return torch.cat(logits)


def accuracy(model: nn.Module, data: LabelledData, steps: int | None) -> float:
    """Fraction of samples whose largest logit is their class."""
    right = predict(model, data, steps).argmax(dim=1) == torch.from_numpy(data.y)
    return float(right.float().mean())
