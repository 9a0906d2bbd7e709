"""spikingjelly as a reader and a writer of NIR; run by the Python of its own environment.

`run FOLDER`: for each NAME.nir the spikes for x of NAME.npz, in NAME.answer.npz or .answer.txt.
`write FOLDER`: NAME.nir by spikingjelly's own writer, and NAME.npz with x and its spikes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # isolated mode leaves this folder out

import numpy as np
import torch
from client_protocol import serve
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir, import_from_nir

DT = 1e-4
STEPS = 8


def answer(path: Path, x: torch.Tensor) -> torch.Tensor:
    """Spikes (T, B, *shape) in float64, step by step: a loop and SumPool2d know no other way."""
    model = import_from_nir(path, dt=DT, dtype=torch.float64, step_mode="s")
    state, spikes = None, []
    for step in x:
        out, state = model(step, state)
        spikes.append(out)
    return torch.stack(spikes)


class Residual(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = layer.Conv2d(2, 4, 3, padding=1)
        self.first = neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=0.53)
        self.left = layer.Conv2d(4, 4, 3, padding=1)
        self.last = neuron.LIFNode(tau=2.0, decay_input=True, v_threshold=0.23)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.stem(x))
        return self.last(self.left(x) + x)


def networks() -> dict[str, tuple[torch.nn.Module, tuple[int, ...]]]:
    dense = torch.nn.Sequential(
        layer.Linear(12, 20),
        neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=0.53),
        layer.Linear(20, 6, bias=False),
        neuron.LIFNode(tau=2.0, decay_input=True, v_threshold=0.13),
    )
    conv = torch.nn.Sequential(
        layer.Conv2d(2, 5, 3, stride=2, padding=1),
        neuron.IFNode(v_threshold=0.73),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(20, 6),
        neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=0.33),
    )
    cuba = torch.nn.Sequential(
        layer.Linear(12, 10), neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=1.03)
    )
    return {
        "dense": (dense, (12,)),
        "conv": (conv, (2, 8, 8)),
        "cuba": (cuba, (12,)),
        "residual": (Residual(), (2, 6, 5)),
    }


def write(folder: Path) -> None:
    for seed, name in enumerate(networks()):
        torch.manual_seed(seed)
        model, shape = networks()[name]
        for parameter in model.double().parameters():  # weights that 8 bits hold
            parameter.data = (parameter.data * 16).round() / 16
        x = torch.rand(STEPS, 4, *shape, dtype=torch.float64).round()
        export_to_nir(model, x[0], folder / f"{name}.nir", dt=DT)
        functional.reset_net(model)
        functional.set_step_mode(model, "m")
        with torch.no_grad():
            spikes = model(x)
        np.savez(folder / f"{name}.npz", x=x.numpy(), spikes=spikes.numpy())


if __name__ == "__main__":
    serve(answer, write)
