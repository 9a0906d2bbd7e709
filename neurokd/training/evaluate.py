"""Evaluation of float networks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.config import TrainConfig
from neurokd.data import LabelledData, load_data
from neurokd.training.devices import Devices
from neurokd.training.objective import dense_logits, student_logits


def predict(
    model: nn.Module,
    data: LabelledData,
    steps: int | None,
    batch: int = 200,
    indices: Tensor | None = None,
) -> Tensor:
    """Logits on all samples, or on those at ``indices``; ``steps`` is None for a dense network.

    Shapes: N samples → (N, K).
    """
    training = model.training
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    model.eval()
    logits = []
    with torch.no_grad():
        for chosen in (torch.arange(len(data)) if indices is None else indices).split(batch):
            x = data.batch(chosen)[0].to(device)
            result = dense_logits(model, x) if steps is None else student_logits(model, x, steps)
            logits.append(result.cpu())
    model.train(training)
    return torch.cat(logits)


def accuracy(model: nn.Module, data: LabelledData, steps: int | None) -> float:
    """Fraction of samples whose largest logit is their class."""
    right = predict(model, data, steps).argmax(dim=1) == torch.from_numpy(data.y)
    return float(right.float().mean())


def evaluate(
    model: nn.Module, data: LabelledData, steps: int | None, devices: Devices
) -> tuple[float, float]:
    """(accuracy, cross-entropy) on all samples, which the processes share."""
    sums = torch.zeros(2, dtype=torch.float64)
    own = torch.arange(devices.rank, len(data), devices.world)
    if len(own):
        logits = predict(model, data, steps, indices=own)
        classes = torch.from_numpy(data.y)[own]
        sums[0] = (logits.argmax(dim=1) == classes).sum()
        sums[1] = F.cross_entropy(logits.double(), classes, reduction="sum")
    right, loss = (devices.total(sums.to(devices.device)) / len(data)).tolist()
    return right, loss


def tested_row(
    model: nn.Module, config: TrainConfig, epoch: int, devices: Devices
) -> dict[str, Any]:
    """The metric row of a run's test split, after ``epoch`` epochs."""
    steps = config.steps if config.role == "student" else None
    test = load_data(config.data, "test", steps=config.steps)
    accuracy, loss = evaluate(model, test, steps, devices)
    return {"epoch": epoch, "split": "test", "accuracy": accuracy, "loss": loss}
