"""Two-bit weights: what lowering alone loses, and what training in the chip's integers wins back.

    python examples/06_train_in_integers.py [--fast]

The runs are written to runs/example-06.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from neurokd.config import read_config
from neurokd.data import load_data
from neurokd.export import lower, trace
from neurokd.hardware import DeployedNetwork, emulate
from neurokd.run import RunFolder
from neurokd.training import train
from neurokd.training.finetune import finetune

BITS = 2


def accuracy(net: DeployedNetwork, samples: int) -> float:
    """Share of test images whose largest readout after the last step is the right one."""
    test = load_data("mnist-subset:test").first(samples)
    run = emulate(net, net.padded(net.encode(test.x)))
    return float((run.output[-1].argmax(axis=-1) == test.y).mean())


def main(fast: bool = False, folder: Path = Path("runs/example-06")) -> dict[str, float]:
    """Train, lower, train on in integers; return the accuracies that were asserted."""
    samples = 200 if fast else 1000
    config = read_config("mnist-student-alone", ["recipe.epochs=3"] if fast else [])
    student = train(config, RunFolder(folder))

    # 1. Lowering alone rounds what was trained in float.
    data = load_data(config.data, "train")
    images = data.first(512).x
    graph = trace(student, torch.zeros(1, *data.sample_shape), steps=config.steps)
    lowered = lower(graph, "loihi2", images, steps=config.steps, weight_bits=BITS)

    # 2. Fine-tuning computes in the emulator's arithmetic; what leaves it is the deployed network.
    tuned = finetune(
        student,
        config,
        data,
        RunFolder(folder / "finetune"),
        weight_bits=BITS,
        epochs=1 if fast else 3,
    )
    found = {
        "lowered": accuracy(lowered, samples),
        "fine-tuned": accuracy(tuned.deployed, samples),
    }
    print(f"{BITS}-bit weights: " + ", ".join(f"{k} {v:.1%}" for k, v in found.items()))
    assert all(p.num_weight_bits == BITS for p in tuned.deployed.projections)
    assert found["fine-tuned"] > max(found["lowered"], 0.6 if fast else 0.9)
    return found


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
