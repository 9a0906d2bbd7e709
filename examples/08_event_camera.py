"""Recordings of an event camera: frames, a spiking student, and its counts as graded spikes.

    python examples/08_event_camera.py [--fast]

A bar moves right, left, down or up before a simulated sensor, at any speed and place: no single
frame tells which. Everything is written to runs/example-08.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from neurokd.config import TrainConfig
from neurokd.data import LabelledData
from neurokd.data.events import event_folder
from neurokd.data.steps_first import lowering_arguments
from neurokd.export import lower, trace
from neurokd.run import RunFolder
from neurokd.training import train
from neurokd.verify import verify

SENSOR, STEPS = 16, 8
DIRECTIONS = ("down", "left", "right", "up")


def record(direction: str, random: np.random.Generator) -> np.ndarray:
    """Columns x, y, p, t (ms): pixels that the bar covers (p = 1) and uncovers (p = 0)."""
    moves, across = np.arange(SENSOR + 1), np.arange(SENSOR)
    time = moves * random.uniform(2.0, 4.0)
    along = moves if direction in ("right", "down") else SENSOR - 1 - moves
    step = 1 if direction in ("right", "down") else -1
    edges = [(along, 1), (along - 3 * step, 0)]
    rows = [
        (place, other, polarity, when)
        for places, polarity in edges
        for place, when in zip(places, time, strict=True)
        for other in across[random.random(SENSOR) < 0.8]  # a sensor misses some
        if 0 <= place < SENSOR
    ]
    table = np.array(sorted(rows, key=lambda row: row[3]))
    return table if direction in ("left", "right") else table[:, [1, 0, 2, 3]]


def recordings(folder: Path, each: int) -> LabelledData:
    """Frames of ``each`` recordings a class, written as files and read as anybody's would be."""
    random = np.random.default_rng(0)
    for direction in DIRECTIONS:
        (folder / direction).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            np.save(folder / direction / f"{number:03}.npy", record(direction, random))
    return event_folder(folder, (SENSOR, SENSOR), STEPS)


def main(fast: bool = False, folder: Path = Path("runs/example-08")) -> dict[str, float]:
    """Record, train, deploy; return the accuracies that were asserted."""
    data = recordings(folder / "recordings", 60 if fast else 200)
    rest, held_out = data.split(0.25, seed=0)
    assert data.x.shape[1:] == (STEPS, 2, SENSOR, SENSOR) and data.x.dtype == np.uint8
    for split, part in (("train", rest), ("test", held_out)):
        np.savez(folder / f"{split}.npz", x=part.x, y=part.y, events=True)

    # 1. Frames enter step by step; the network's memory has to tell the direction.
    config = TrainConfig.model_validate(
        {
            "role": "student",
            "data": str(folder),
            "steps": STEPS,
            "model": {
                "in_channels": 2,
                "classes": len(DIRECTIONS),
                "channels": (8, 16, 32),
                "kernels": (3, 3, 3),
                "strides": (1, 2, 2),
                "beta": 0.75,
            },
            "recipe": {"epochs": 12 if fast else 20, "batch_size": 20, "learning_rate": 1e-2},
            "augment": {"max_shift": 0, "drop_events": 0.2},
        }
    )
    student = train(config, RunFolder(folder / "student"))

    # 2. Loihi 2 takes the counts of a frame as they are, as graded spikes.
    graph = trace(student, torch.zeros(1, *data.sample_shape), steps=STEPS)
    net = lower(graph, "loihi2", steps=STEPS, **lowering_arguments(rest, "loihi2"))
    verdict = verify(student, net, held_out, ["emulator"], tolerance=0.05)
    found = {row.backend: row.accuracy for row in verdict.rows}
    print(", ".join(f"{name} {accuracy:.1%}" for name, accuracy in found.items()))
    assert verdict.holds and min(found.values()) > (0.6 if fast else 0.9)
    return found


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
