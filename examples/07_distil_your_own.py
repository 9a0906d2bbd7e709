"""Your own networks as teacher and student, distilled by what their paths name.

    python examples/07_distil_your_own.py [--fast]

The runs are written to runs/example-07.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from neurokd.config import TrainConfig
from neurokd.data import load_data
from neurokd.export import lower, trace
from neurokd.hardware import emulate
from neurokd.neurons import LIF, Accumulator, PerStep
from neurokd.run import RunFolder
from neurokd.training import train

STEPS = 4


class Teacher(nn.Module):
    """A dense network (B, 1, 28, 28) → (B, 10) that neurokd has never seen."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(1, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.late(self.early(x)).mean(dim=(2, 3)))
        return logits


def student() -> nn.Module:
    """A spiking network (T, B, 1, 28, 28) → membranes (T, B, 10), of another geometry."""
    return nn.Sequential(
        PerStep(nn.Sequential(nn.Conv2d(1, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16))),
        LIF(beta=0.5),
        PerStep(nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32))),
        LIF(beta=0.5),
        PerStep(nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32))),
        LIF(beta=0.5),
        PerStep(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))),
        Accumulator(),
    )


def main(fast: bool = False, folder: Path = Path("runs/example-07")) -> dict[str, float]:
    """Train both, deploy the student; return the accuracies that were asserted."""
    recipe = {"epochs": 3 if fast else 8, "learning_rate": 1e-2, "batch_size": 32}
    common = {"samples": 3000 if fast else None, "recipe": recipe, "augment": {"max_shift": 0}}
    here = Path(__file__).stem if __name__ != "__main__" else "__main__"

    # 1. A configuration names the function that builds a network, its stages and its classifier.
    lesson = TrainConfig.model_validate(
        {
            "role": "teacher",
            "model": {"name": "module", "factory": f"{here}:Teacher", "classifier": "head"},
            **common,
        }
    )
    teacher = train(lesson, RunFolder(folder / "teacher"))

    # 2. Stages are compared by their paths; maps of different size would be pooled to one.
    config = TrainConfig.model_validate(
        {
            "role": "student",
            "steps": STEPS,
            "model": {"name": "module", "factory": f"{here}:student"},
            "distill": {"samd": 1.0, "nld": 1.0, "student_stage": "5", "teacher_stage": "late"},
            **common,
        }
    )
    trained = train(config, RunFolder(folder), teacher=teacher)
    rows = [json.loads(line) for line in RunFolder(folder).metrics.read_text().splitlines()]
    assert {"ce", "samd", "nld"} <= rows[0].keys()

    # 3. What was trained is deployed like any other network.
    test = load_data(config.data, "test").first(200)
    graph = trace(trained, torch.zeros(1, 1, 28, 28), steps=STEPS)
    net = lower(graph, "loihi2", load_data(config.data, "train").first(256).x, steps=STEPS)
    run = emulate(net, net.padded(net.encode(test.x)))
    found = {
        "student": float(rows[-1]["accuracy"]),
        "deployed": float((run.output[-1].argmax(axis=-1) == test.y).mean()),
    }
    print(", ".join(f"{name} {accuracy:.1%}" for name, accuracy in found.items()))
    assert min(found.values()) > (0.25 if fast else 0.9)
    return found


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
