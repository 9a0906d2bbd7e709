"""The networks that the emulator is measured on, each with a float twin in snnTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import snntorch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation, Population
from neurokd.hardware.projection import ConvProjection, DenseProjection, Projection

STEPS, BATCH, ACTIVITY = 50, 256, 0.1
_DV = 410
_OUT_OF_REACH = 131071


@dataclass(frozen=True)
class Workload:
    """A network, what is fed to it, its float twin, and the ratios to reach.

    Shapes: ``x`` (T, B, *shape) integers; ``twin`` maps floats of this shape to its output. A limit
    of 0: there is nothing to compare with.
    """

    name: str
    net: DeployedNetwork
    x: NDArray[Any]
    twin: Callable[[Tensor], Tensor]
    classes: Callable[[Tensor], Tensor]
    snntorch_limit: float
    lava_limit: float
    lava_steps: int | None = None
    """Chip steps of a run, where the data is a constant current and has no time axis."""


class Twin(nn.Module):
    """The same synapses and neurons as floats, step by step, as snnTorch users write it."""

    def __init__(self, layers: Sequence[nn.Module], thresholds: Sequence[float]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.neurons = nn.ModuleList(
            snntorch.Leaky(
                beta=1 - _DV / 4096,
                threshold=threshold,
                reset_mechanism="zero" if threshold else "none",
                reset_delay=False,
            )
            for threshold in thresholds
        )

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's membranes, (T, B, classes)."""
        membranes = [torch.zeros(())] * len(self.neurons)
        out = []
        for spikes in x:
            for i, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                spikes, membranes[i] = neuron(layer(spikes), membranes[i])
            out.append(membranes[-1])
        return torch.stack(out)


def _spikes(shape: tuple[int, ...], share: float) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return (rng.random((STEPS, BATCH, *shape)) < share).astype(np.uint8)


def _even(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Any:
    """Weights as 8 bits of mixed sign hold them."""
    return 2 * np.clip(np.rint(rng.normal(0, deviation, shape)), -127, 127).astype(np.int32)


def _lif(name: str, shape: tuple[int, ...], vth: int) -> LIFPopulation:
    spiking = vth < _OUT_OF_REACH
    bias = np.zeros(shape, dtype=np.int32)
    return LIFPopulation(name, shape, 4095, _DV, vth, bias, spiking=spiking)


def _network(populations: list[Population], projections: list[Projection]) -> DeployedNetwork:
    return DeployedNetwork(tuple(populations), tuple(projections), "out", "loihi2", STEPS)


def _final(out: Tensor) -> Tensor:
    return out[-1].argmax(dim=1)


def dense(hidden: int, lava_limit: float, share: float = ACTIVITY) -> Workload:
    """784 – hidden – 10, dense."""
    rng = np.random.default_rng(0)
    first, second = _even(rng, (hidden, 784), 20), _even(rng, (10, hidden), 20)
    vth = 600
    net = _network(
        [
            InputPopulation("in", (784,)),
            _lif("hidden", (hidden,), vth),
            _lif("out", (10,), _OUT_OF_REACH),
        ],
        [
            DenseProjection("1", "in", "hidden", first),
            DenseProjection("2", "hidden", "out", second),
        ],
    )
    layers = [_with_weight(nn.Linear(784, hidden, bias=False), first)]
    layers.append(_with_weight(nn.Linear(hidden, 10, bias=False), second))
    return Workload(
        name=f"784-{hidden}-10",
        net=net,
        x=_spikes((784,), share),
        twin=Twin(layers, [vth, 0]).eval(),
        classes=_final,
        snntorch_limit=1.0,
        lava_limit=lava_limit,
    )


def conv(share: float = ACTIVITY) -> Workload:
    """28 × 28, 16 kernels of 3 with stride 2, 32 of 3 with stride 2, 10 classes."""
    rng = np.random.default_rng(0)
    kernels = [_even(rng, (16, 1, 3, 3), 30), _even(rng, (32, 16, 3, 3), 30)]
    readout = _even(rng, (10, 32 * 7 * 7), 20)
    thresholds = [90, 250]
    net = _network(
        [
            InputPopulation("in", (1, 28, 28)),
            _lif("conv1", (16, 14, 14), thresholds[0]),
            _lif("conv2", (32, 7, 7), thresholds[1]),
            _lif("out", (10,), _OUT_OF_REACH),
        ],
        [
            ConvProjection("1", "in", "conv1", kernels[0], stride=(2, 2), padding=(1, 1)),
            ConvProjection("2", "conv1", "conv2", kernels[1], stride=(2, 2), padding=(1, 1)),
            DenseProjection("3", "conv2", "out", readout),
        ],
    )
    layers: list[nn.Module] = [
        _with_weight(nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), kernels[0]),
        _with_weight(nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), kernels[1]),
        nn.Sequential(nn.Flatten(), _with_weight(nn.Linear(32 * 7 * 7, 10, bias=False), readout)),
    ]
    return Workload(
        name="28×28-16c3s2-32c3s2-10",
        net=net,
        x=_spikes((1, 28, 28), share),
        twin=Twin(layers, [*thresholds, 0]).eval(),
        classes=_final,
        snntorch_limit=1.0,
        lava_limit=500,
    )


def _with_weight(layer: Any, weight: NDArray[np.int32]) -> Any:
    layer.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)), requires_grad=False)
    return layer


def dense256(share: float = ACTIVITY) -> Workload:
    """784-256-10."""
    return dense(256, 300, share)


def dense1000(share: float = ACTIVITY) -> Workload:
    """784-1000-10."""
    return dense(1000, 120, share)


WORKLOADS: dict[str, Callable[..., Workload]] = {
    "dense256": dense256,
    "dense1000": dense1000,
    "conv": conv,
}
