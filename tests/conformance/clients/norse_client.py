"""norse as a reader and a writer of NIR; run by the Python of its own environment.

`run FOLDER`: for each NAME.nir the spikes for x of NAME.npz, in NAME.answer.npz or .answer.txt.
`write FOLDER`: NAME.nir by norse's own writer, and NAME.npz with x and its spikes.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # isolated mode leaves this folder out

import nir
import norse.torch as norse
import numpy as np
import torch
from client_protocol import serve

DT = 1e-4
STEPS = 8


def answer(path: Path, x: torch.Tensor) -> torch.Tensor:
    """Spikes (T, B, *shape), one sample after the other: its Flatten knows no batch.

    Weights and input are float64; norse keeps its neurons' parameters in float32.
    """
    model = norse.from_nir(nir.read(path), dt=DT).double()
    samples = []
    for sample in range(x.shape[1]):
        state, spikes = None, []
        for step in x[:, sample]:
            out, state = model(step, state)
            spikes.append(out)
        samples.append(torch.stack(spikes))
    return torch.stack(samples, dim=1)


def lif(beta: float, threshold: float, *shape: int) -> norse.LIFBoxCell:
    parameters = norse.LIFBoxParameters(
        tau_mem_inv=torch.full(shape, (1 - beta) / DT),
        v_th=torch.full(shape, threshold),
        v_leak=torch.zeros(shape),
    )
    return norse.LIFBoxCell(parameters, dt=DT)


def networks() -> dict[str, tuple[torch.nn.Module, tuple[int, ...]]]:
    dense = norse.SequentialState(
        torch.nn.Linear(12, 20), lif(0.5, 0.23, 20), torch.nn.Linear(20, 6), lif(0.5, 0.13, 6)
    )
    conv = norse.SequentialState(
        torch.nn.Conv2d(2, 5, 3, stride=2, padding=1),
        lif(0.5, 0.23, 5, 4, 3),
        torch.nn.Conv2d(5, 3, 3),
        lif(0.5, 0.13, 3, 2, 1),
    )
    return {"dense": (dense, (12,)), "conv": (conv, (2, 8, 6))}


def write(folder: Path) -> None:
    for seed, name in enumerate(networks()):
        torch.manual_seed(seed)
        model, shape = networks()[name]
        for parameter in model.parameters():  # weights that 8 bits hold
            parameter.data = (parameter.data * 16).round() / 16
        x = torch.rand(STEPS, 4, *shape).round()
        # with its default dt, norse would write τ · 1e-3 instead of τ
        graph = norse.to_nir(model, x[0, 0], dt=1)
        for node in graph.nodes.values():
            if isinstance(node, nir.Conv2d):  # norse leaves it open, and nir cannot write that
                first = node.weight.shape[1] == shape[0]
                node.input_shape = shape[1:] if first else (4, 3)
        nir.write(folder / f"{name}.nir", graph)
        state, spikes = None, []
        with torch.no_grad():
            for step in x.double():
                out, state = model.double()(step, state)
                spikes.append(out)
        np.savez(folder / f"{name}.npz", x=x.numpy(), spikes=torch.stack(spikes).numpy())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # "r is expected to be 1" is what the matrix measures
    serve(answer, write)
