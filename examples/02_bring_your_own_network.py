"""A plain snnTorch network to NIR and back, compared spike for spike with the module itself.

    python examples/02_bring_your_own_network.py [--fast]

The same `graph` could be another framework's file: `read_nir("theirs.nir")`. Written are two
files under runs/example-02.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import snntorch as snn
import snntorch.utils
import torch
from torch import Tensor, nn

from neurokd.errors import UnsupportedModuleError
from neurokd.export import lower, read_nir, simulate_nir, trace, write_nir
from neurokd.hardware import emulate

STEPS = 6


class Residual(nn.Module):
    """Two spiking stages around a skip connection, as one writes them with snnTorch."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        lif = {"beta": 0.75, "reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fire1 = snn.Leaky(**lif, threshold=0.4)
        self.inner = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.fire2 = snn.Leaky(**lif, threshold=torch.linspace(0.3, 0.6, 8).reshape(8, 1, 1))
        self.pool = pool
        self.readout = nn.Linear(8 * 7 * 7, 10)
        self.out = snn.Leaky(**lif, threshold=0.1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.fire1(self.norm(self.stem(x)))
        second = self.fire2(self.inner(first) + first)
        return self.out(self.readout(self.pool(second).flatten(1)))


def main(fast: bool = False, folder: Path = Path("runs/example-02")) -> dict[str, float]:
    """Walk the path and return the figures that were asserted."""
    torch.manual_seed(0)
    model = Residual(nn.AvgPool2d(2)).eval()
    images = torch.rand(8 if fast else 64, 1, 28, 28)

    # 1. Every op is known or refused: the batch norm is folded, the pool becomes a sum.
    graph = trace(model, images[:1], steps=STEPS)
    path = write_nir(graph, folder / "network.nir")
    print(f"{path}: {', '.join(type(node).__name__ for node in graph.nodes.values())}")

    # 2. The reference simulator reads the file and gives the module's spikes, all of them.
    snntorch.utils.reset(model)
    with torch.no_grad():
        theirs = torch.stack([model(images) for _ in range(STEPS)]).numpy()
    x = np.broadcast_to(images.numpy(), (STEPS, *images.shape))
    ours = simulate_nir(read_nir(path), x).output
    differing = int((theirs != ours).sum())
    print(f"{ours.size} output slots, {int(ours.sum())} spikes, {differing} differ")

    # 3. What has no exact meaning is refused by name, with a remedy, and never dropped.
    try:
        trace(Residual(nn.MaxPool2d(2)).eval(), images[:1], steps=STEPS)
    except UnsupportedModuleError as error:
        refusal = str(error)
    print(f"refused: {refusal}")

    # 4. The same graph as one integer network of Loihi 2, the skip connection balanced by a delay.
    net = lower(graph, "loihi2", calibration=images.numpy(), steps=STEPS)
    net.save(folder / "network.safetensors")
    run = emulate(net, net.padded(net.encode(images.numpy(), STEPS)))
    agreement = float((run.output[net.latency :] == ours).mean())
    print(f"{len(net.projections)} projections, latency {net.latency}, agreement {agreement:.2%}")

    assert differing == 0 and ours.sum() > 0
    assert "MaxPool2d" in refusal
    assert agreement > 0.93  # nobody trained it: many membranes end up near their thresholds
    return {"differing": differing, "agreement": agreement}


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
