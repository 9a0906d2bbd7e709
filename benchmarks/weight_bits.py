"""Accuracy of the deployed students at 8 to 2 weight bits, with and without fine-tuning.

Run: ``python benchmarks/weight_bits.py``. Every trained network and every cell of the table is kept
in ``--out``; the command goes on where it stopped, and prints the table once it is complete.

demo: the preset mnist-student with its teacher, seed 0, on the packaged MNIST subset (5,000
training and 1,000 test images); fine-tuning 2 epochs with SAMD and NLD on.
resnet20: the ResNet-20 student of width 1 (16, 32 and 64 channels, hidden layer of 256), without a
teacher, seed 0, on the same subset, images padded to 32 × 32 and averaged to 8 × 8, no shifts;
6 epochs, fine-tuning 2 epochs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neurokd.atomic import write_text
from neurokd.config import AugmentConfig, ModelConfig, RecipeConfig, TrainConfig, read_config
from neurokd.data import LabelledData, load_data
from neurokd.export.lower import lower
from neurokd.export.trace import trace
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.run import RunFolder, configured_model
from neurokd.training.evaluate import accuracy
from neurokd.training.finetune import CALIBRATION_SAMPLES, finetune
from neurokd.training.fit import fit
from neurokd.training.objective import make_objective

BITS = (8, 6, 5, 4, 3, 2)
Split = Callable[[str], LabelledData]


@dataclass(frozen=True)
class Student:
    """What is trained, on what, and for how long it is fine-tuned."""

    name: str
    config: TrainConfig
    data: Split
    epochs: int
    teacher: TrainConfig | None = None


def small_images(split: str) -> LabelledData:
    """The MNIST subset at 8 × 8. Shapes: x (N, 1, 8, 8) in [0, 1]."""
    data = load_data("mnist-subset", split)
    padded = np.pad(data.x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    small = padded.reshape(len(data), 1, 8, 4, 8, 4).mean(axis=(3, 5), dtype=np.float32)
    return LabelledData(f"mnist-subset-8:{split}", small, data.y)


def students() -> Iterator[Student]:
    """The two rows of the table."""
    yield Student(
        "demo",
        read_config("mnist-student"),
        lambda split: load_data("mnist-subset", split),
        epochs=2,
        teacher=read_config("mnist-teacher"),
    )
    yield Student(
        "resnet20",
        TrainConfig(
            role="student",
            model=ModelConfig(name="resnet20", in_channels=1, width=1),
            recipe=RecipeConfig(epochs=6, learning_rate=1e-2),
            augment=AugmentConfig(max_shift=0),
        ),
        small_images,
        epochs=2,
    )


def trained(
    config: TrainConfig, split: Split, folder: Path, teacher: nn.Module | None
) -> nn.Module:
    """The network of a configuration, from its folder or trained into it."""
    run = RunFolder(folder)
    if run.weights.is_file():
        return run.load_model()
    resume = run.checkpoint.is_file()
    torch.manual_seed(config.seed)
    model = configured_model(config)
    if not resume:
        run.begin(config)
    fit(model, make_objective(config, model, teacher), split("train"), config, run, resume=resume)
    run.save_model(model)
    return model.eval()


def deployed_accuracy(net: DeployedNetwork, data: LabelledData) -> float:
    """Accuracy of the integers in the emulator, in per cent."""
    messages = net.padded(net.encode(data.x))
    return 100 * float((emulate(net, messages).classes == data.y).mean())


def measure(student: Student, folder: Path, bits: int, tuned: bool) -> dict[str, Any]:
    """One cell: the accuracy on the test images, and the seconds that it took."""
    started = time.perf_counter()
    train, test = student.data("train"), student.data("test")
    teacher = None
    if student.teacher is not None:
        teacher = trained(student.teacher, student.data, folder / "teacher", None)
    network = trained(student.config, student.data, folder / "student", teacher)
    steps = student.config.steps
    if tuned:
        own = RunFolder(folder / f"finetune-{bits}")
        net = finetune(
            network,
            student.config,
            train,
            own,
            weight_bits=bits,
            teacher=teacher,
            epochs=student.epochs,
            resume=own.checkpoint.is_file(),
        ).deployed
    else:
        graph = trace(network, torch.zeros(1, *train.sample_shape), steps=steps)
        calibration = train.first(CALIBRATION_SAMPLES).x
        net = lower(graph, calibration=calibration, steps=steps, weight_bits=bits)
    return {
        "float": 100 * accuracy(network, test, steps),
        "deployed": deployed_accuracy(net, test),
        "seconds": round(time.perf_counter() - started, 1),
    }


def table(cells: dict[str, dict[str, Any]], names: list[str]) -> str:
    """Per cent of the test images, as Markdown."""
    rows = ["| weight bits | " + " | ".join(map(str, BITS)) + " | float |"]
    rows.append("|---" * (len(BITS) + 2) + "|")
    for name in names:
        for tuned in (False, True):
            found = [cells[key(name, bits, tuned)] for bits in BITS]
            shown = [f"{cell['deployed']:.1f}" for cell in found]
            floats = {f"{cell['float']:.1f}" for cell in found}
            label = f"{name}, {'fine-tuned' if tuned else 'lowered'}"
            rows.append(f"| {label} | {' | '.join(shown)} | {', '.join(floats)} |")
    return "\n".join(rows)


def key(name: str, bits: int, tuned: bool) -> str:
    """Name of a cell."""
    return f"{name}-{bits}-{'tuned' if tuned else 'lowered'}"


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/weight-bits"))
    parser.add_argument("--students", nargs="+", default=["demo", "resnet20"])
    arguments = parser.parse_args()
    chosen = [student for student in students() if student.name in arguments.students]
    cells: dict[str, dict[str, Any]] = {}
    for student in chosen:
        for tuned in (False, True):
            for bits in BITS:
                name = key(student.name, bits, tuned)
                file = arguments.out / "cells" / f"{name}.json"
                if not file.is_file():
                    cell = measure(student, arguments.out / student.name, bits, tuned)
                    write_text(file, json.dumps(cell) + "\n")
                    print(name, cell, flush=True)
                cells[name] = json.loads(file.read_text())
    print(table(cells, [student.name for student in chosen]))


if __name__ == "__main__":
    main()
