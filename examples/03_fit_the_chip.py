"""Which core holds which neurons, what binds, and what a network that does not fit is told.

    python examples/03_fit_the_chip.py

Prints the map of a small convolutional network on Loihi and Loihi 2; nothing is written.
"""

from __future__ import annotations

import sys

import torch
from torch import nn

from neurokd.errors import CapacityError
from neurokd.export import lower, trace
from neurokd.hardware import DeployedNetwork, map_to_cores
from neurokd.neurons import LIF, PerStep


def network(channels: int) -> DeployedNetwork:
    """Two convolutions and a classifier for 28 × 28 images, with random weights."""
    torch.manual_seed(0)
    layers = [
        PerStep(nn.Conv2d(1, channels, 3, stride=2, padding=1)),
        LIF(),
        PerStep(nn.Conv2d(channels, 32, 3, stride=2, padding=1)),
        LIF(),
        PerStep(nn.Flatten()),
        PerStep(nn.Linear(32 * 7 * 7, 10)),
        LIF(),
    ]
    images = torch.rand(16, 1, 28, 28)
    graph = trace(nn.Sequential(*layers).eval(), images[:1], steps=4)
    return lower(graph, "loihi2", calibration=images.numpy(), steps=4)


def main(fast: bool = False) -> dict[str, float]:
    """Map three times and return the figures that were asserted."""
    net = network(channels=16)
    cores = {}
    for chip in ("loihi1", "loihi2"):
        mapped = map_to_cores(net, chip)
        cores[chip] = len(mapped.cores)
        print(f"{chip}: {len(mapped.cores)} cores on {mapped.chips} chip; grade {mapped.grade}")
        for name, count in mapped.cores_of.items():
            resource, used, limit = mapped.binding(name)
            print(f"  {name}: {count} of them; {resource} {used:,} of {limit:,}")

    # 3 × 3 source neurons of 512 channels would be one neuron's sources: more than a core can take.
    try:
        map_to_cores(network(channels=512), "loihi1")
    except CapacityError as error:
        refusal = str(error)
    print(f"refused: {refusal}")

    assert cores["loihi1"] >= 5  # 4,714 neurons, 1,024 a core
    assert cores["loihi2"] < cores["loihi1"]
    assert "input axons" in refusal and "4,096" in refusal
    return {name: float(count) for name, count in cores.items()}


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
