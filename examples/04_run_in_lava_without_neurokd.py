"""What an export for Loihi needs to run: Lava, and nothing of neurokd.

    python examples/04_run_in_lava_without_neurokd.py

Lowers a small convolutional network, writes the files that run it in Lava, runs them in a process
without neurokd, and compares every spike with the emulator. Without Lava it stops at the files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from neurokd.export import lower, trace
from neurokd.hardware import DeployedNetwork, emulate
from neurokd.hardware.lava_bundle import write_bundle
from neurokd.hardware.lava_environment import lava_status
from neurokd.neurons import LIF, PerStep


def network(images: torch.Tensor) -> DeployedNetwork:
    """A convolution and a classifier for 12 × 12 images, with random weights."""
    classifier = nn.Linear(8 * 6 * 6, 10)
    nn.init.normal_(classifier.weight, std=0.3)  # as nobody trained it: wide enough to spike
    layers = [
        PerStep(nn.Conv2d(1, 8, 3, stride=2, padding=1)),
        LIF(),
        PerStep(nn.Flatten()),
        PerStep(classifier),
        LIF(),
    ]
    graph = trace(nn.Sequential(*layers).eval(), images[:1], steps=4)
    return lower(graph, "loihi2", calibration=images.numpy(), steps=4)


def main(fast: bool = False) -> dict[str, float]:
    """Write, run and compare; returns the figures that were asserted."""
    torch.manual_seed(0)
    images = torch.rand(4 if fast else 20, 1, 12, 12)
    net = network(images)
    run = emulate(net, net.padded(net.encode(images.numpy())), record=("spikes",))

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = write_bundle(net, folder / "loihi")
        print("written:", ", ".join(file.name for file in files))
        np.savez(folder / "samples.npz", x=images.numpy(), y=run.classes)

        status = lava_status()
        if status.python is None or not status.available:
            print(f"no Lava here: {status.reason}")
            return {"files": float(len(files))}
        command = [status.python, "loihi/run_in_lava.py", "--data", "samples.npz"]
        command += ["--save", "kept.npz"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        print(done.stdout, end="")
        with np.load(folder / "kept.npz") as kept:
            for name, record in run.records.items():
                assert np.array_equal(kept[f"{name}.spikes"], record["spikes"]), name
            assert np.array_equal(kept["classes"], run.classes)

    spikes = sum(counted.spikes for counted in run.counts.populations.values())
    print(f"{spikes:,} messages, the same in Lava and in the emulator")
    assert "accuracy: 100.00 %" in done.stdout
    assert spikes > 1000
    assert run.output.any()
    return {"files": float(len(files)), "spikes": float(spikes)}


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
