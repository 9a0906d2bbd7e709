"""The networks of the conformance matrix, traced from torch or put together from NIR nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import nir
import numpy as np
import snntorch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurokd.export import trace
from neurokd.export.nir_structure import predecessors, topological_order
from neurokd.models import build_model
from neurokd.neurons import LIF, PerStep
from neurokd.neurons.surrogate import triangle

DT = 1e-4
SPIKING = (nir.IF, nir.LIF, nir.CubaLIF)


@dataclass(frozen=True)
class Case:
    """A network, its input (T, B, *shape), and the profile in which a client can run it."""

    name: str
    graph: nir.NIRGraph
    x: NDArray[np.float64]
    readers: Mapping[str, str]
    erratic: Mapping[str, str] = field(default_factory=dict)
    """Why the answer of a client changes from run to run."""


def leaky(beta: float | Tensor, threshold: float | Tensor = 1.0) -> snntorch.Leaky:
    return snntorch.Leaky(
        beta=beta,
        threshold=threshold,
        init_hidden=True,
        spike_grad=triangle(),  # snnTorch's own gives float32 spikes in a float64 network
        reset_mechanism="zero",
        reset_delay=False,
    )


def spikes(seed: int, *shape: int, rate: float = 0.3) -> NDArray[np.float64]:
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.float64)


def traced(seed: int, build: Callable[[], nn.Module], shape: tuple[int, ...]) -> nir.NIRGraph:
    torch.manual_seed(seed)
    model = build()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.05, 0.2)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return trace(model.double().eval(), torch.rand(1, *shape, dtype=torch.double))


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 40), leaky(0.9, 0.6), nn.Linear(40, 8), leaky(0.8, 0.4))


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=1),
        leaky(0.9, 0.6),
        nn.Conv2d(6, 4, (3, 3), padding="same"),
        leaky(0.8, 0.3),
        nn.Flatten(),
        nn.Linear(4 * 4 * 5, 8),
        leaky(0.7, 0.25),
    )


def pooling() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        leaky(0.9, 0.6),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 4, 3),
        leaky(0.8, 0.2),
        nn.Flatten(),
        nn.Linear(4 * 2 * 3, 8),
        leaky(0.7, 0.2),
    )


class Residual(nn.Module):
    def __init__(self, right: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(PerStep(nn.Conv2d(2, 4, 3, 1, 1)), LIF(0.5, 0.4))
        self.left = PerStep(nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4)))
        self.right = right
        self.lif = LIF(0.75, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y: Tensor = self.lif(self.left(x) + self.right(x))
        return y


def residual() -> nn.Module:
    return Residual(nn.Identity())


def branches() -> nn.Module:
    return Residual(PerStep(nn.Conv2d(4, 4, 1)))


def per_neuron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(30, 40),
        leaky(torch.rand(40) * 0.8 + 0.1, torch.rand(40) * 0.5 + 0.2),
        nn.Linear(40, 8, bias=False),
        leaky(torch.rand(8) * 0.8 + 0.1, torch.rand(8) * 0.3 + 0.1),
    )


def integrate() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 40), leaky(1.0, 1.2), nn.Linear(40, 8), leaky(1.0, 0.9))


def synaptic() -> nn.Module:
    def cell(alpha: float, beta: float) -> nn.Module:
        return snntorch.Synaptic(
            alpha=alpha,
            beta=beta,
            init_hidden=True,
            spike_grad=triangle(),
            reset_mechanism="zero",
            reset_delay=False,
        )

    return nn.Sequential(nn.Linear(30, 40), cell(0.8, 0.9), nn.Linear(40, 8), cell(0.7, 0.6))


def recurrent_leaky() -> nn.Module:
    cell = snntorch.RLeaky(
        beta=0.9,
        threshold=0.6,
        linear_features=40,
        init_hidden=True,
        spike_grad=triangle(),
        reset_mechanism="zero",
        reset_delay=False,
    )
    nn.init.zeros_(cell.recurrent.bias)
    return nn.Sequential(nn.Linear(30, 40), cell, nn.Linear(40, 8), leaky(0.8, 0.4))


def recurrent_synaptic() -> nn.Module:
    """Its reset comes a step late, which takes a Delay, a Threshold and Scales in NIR."""
    cell = snntorch.RSynaptic(
        alpha=0.5,
        beta=0.8,
        linear_features=40,
        init_hidden=True,
        spike_grad=triangle(),
        reset_mechanism="zero",
    )
    return nn.Sequential(nn.Linear(30, 40), cell, nn.Linear(40, 8), leaky(0.8, 0.4))


def with_average_pool(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The same network as people write it: AvgPool2d instead of a folded SumPool2d."""
    nodes = dict(graph.nodes)
    following = {source: target for source, target in graph.edges}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.SumPool2d):
            nodes[name] = nir.AvgPool2d(node.kernel_size, node.stride, node.padding)
            after = graph.nodes[following[name]]
            factor = np.float32(np.prod(node.kernel_size))
            nodes[following[name]] = nir.Conv2d(
                after.input_shape,
                after.weight * factor,
                after.stride,
                after.padding,
                after.dilation,
                after.groups,
                after.bias,
            )
    return nir.NIRGraph(nodes, graph.edges, metadata=dict(graph.metadata))


def lif(n: int, beta: float, threshold: float) -> nir.LIF:
    full = np.full(n, 1.0, np.float32)
    tau = np.float32(DT / (1 - beta))
    return nir.LIF(
        full * tau,
        full * np.float32(1 / (1 - beta)),
        0 * full,
        full * np.float32(threshold),
        0 * full,
    )


def chain(*nodes: nir.NIRNode, shape: tuple[int, ...], out: tuple[int, ...]) -> nir.NIRGraph:
    named = {"input": nir.Input(np.array(shape))}
    named |= {f"n{i}": node for i, node in enumerate(nodes)}
    named["output"] = nir.Output(np.array(out))
    names = list(named)
    edges = list(zip(names, names[1:], strict=False))
    return nir.NIRGraph(named, edges, metadata={"dt": DT})


def recurrent(seed: int, bias: float = 0.0) -> nir.NIRGraph:
    """RLeaky, all-to-all: what fired a step ago comes back through V."""
    rng = np.random.default_rng(seed)
    weight = [
        rng.normal(0, s, shape).astype(np.float32)
        for s, shape in ((0.3, (40, 30)), (0.15, (40, 40)), (0.3, (8, 40)))
    ]
    back = nir.Affine(weight[1], np.full(40, bias, np.float32))
    graph = chain(
        nir.Linear(weight[0]),
        lif(40, 0.9, 1.0),
        nir.Linear(weight[2]),
        lif(8, 0.8, 1.0),
        shape=(30,),
        out=(8,),
    )
    return nir.NIRGraph(
        {**graph.nodes, "back": back},
        # the loop first: norse takes what its walk through the edges meets last for the output
        [("n1", "back"), ("back", "n1"), *graph.edges],
        metadata={"dt": DT},
    )


def cuba(seed: int) -> nir.NIRGraph:
    rng = np.random.default_rng(seed)

    def layer(n: int, m: int, alpha: float, beta: float) -> tuple[nir.NIRNode, nir.NIRNode]:
        ones = np.ones(n, np.float32)
        syn, mem = (np.float32(DT / (1 - d)) for d in (alpha, beta))
        gain = [np.float32(1 / (1 - d)) for d in (beta, alpha)]
        neuron = nir.CubaLIF(
            syn * ones, mem * ones, gain[0] * ones, 0 * ones, ones, 0 * ones, gain[1] * ones
        )
        affine = nir.Affine(
            rng.normal(0, 0.3, (n, m)).astype(np.float32), rng.normal(0, 0.1, n).astype(np.float32)
        )
        return affine, neuron

    return chain(*layer(40, 30, 0.8, 0.9), *layer(8, 40, 0.7, 0.6), shape=(30,), out=(8,))


def up_to_last_spikes(graph: nir.NIRGraph) -> nir.NIRGraph:
    """The part that ends with the last spiking neurons, without the readout behind them."""
    last = [n for n in topological_order(graph) if isinstance(graph.nodes[n], SPIKING)][-1]
    sources = predecessors(graph)
    kept, frontier = {last}, [last]
    while frontier:
        frontier = [s for name in frontier for s in sources[name] if s not in kept]
        kept.update(frontier)
    nodes = {name: node for name, node in graph.nodes.items() if name in kept}
    nodes["output"] = nir.Output(np.array(graph.nodes[last].v_threshold.shape))
    edges = [(s, t) for s, t in graph.edges if s in kept and t in kept]
    return nir.NIRGraph(nodes, [*edges, (last, "output")], metadata=dict(graph.metadata))


def cases() -> tuple[Case, ...]:
    """All networks, each with a seed whose membranes keep away from their thresholds."""
    image = spikes(1, 30, 2, 2, 8, 10)
    row = spikes(2, 100, 2, 30)
    pooled = traced(2, pooling, (2, 8, 10))
    convnet = traced(
        5,
        lambda: build_model(
            "convnet", spiking=True, channels=(4, 6), kernels=(5, 3), strides=(2, 1)
        ),
        (1, 10, 14),
    )
    resnet = traced(6, lambda: build_model("resnet20", spiking=True), (3, 8, 8))
    grey = np.random.default_rng(3).random((6, 2, 1, 10, 14))
    colour = np.random.default_rng(4).random((4, 1, 3, 8, 8))
    jelly, norse = {"spikingjelly": "snntorch"}, {"norse": "unit-r"}
    return (
        Case("dense, 2 × LIF", traced(0, dense, (30,)), row, jelly | norse),
        # norse's IF knows no dt: it adds the current itself
        Case("IF", traced(8, integrate, (30,)), row, jelly | {"norse": "snntorch"}),
        Case("per-neuron β and threshold", traced(4, per_neuron, (30,)), row, norse),
        Case("CubaLIF", cuba(0), row, jelly | norse),
        Case("CubaLIF, traced (Synaptic)", traced(9, synaptic, (30,)), row, jelly | norse),
        Case("recurrent, no bias", recurrent(0), row, jelly | norse),
        Case("recurrent, traced (RLeaky)", traced(9, recurrent_leaky, (30,)), row, jelly | norse),
        Case("recurrent, with a bias", recurrent(0, 0.05), row, {}),
        Case("recurrent, traced (RSynaptic)", traced(9, recurrent_synaptic, (30,)), row, {}),
        Case("convolution", traced(1, conv, (2, 8, 10)), image, jelly | norse),
        Case("pooling (SumPool2d, folded)", pooled, image, jelly | norse),
        Case(
            "pooling (AvgPool2d)",
            with_average_pool(pooled),
            image,
            jelly,
            {"norse": "it drops the AvgPool2d and starts at either side of the gap"},
        ),
        Case("residual", traced(3, residual, (2, 8, 10)), image, jelly | norse),
        Case("residual, two convolutions", traced(3, branches, (2, 8, 10)), image, jelly),
        Case("ConvNet student", convnet, grey, {}),
        Case("ConvNet student, to the last LIF", up_to_last_spikes(convnet), grey, jelly | norse),
        Case("ResNet-20 student", resnet, colour, {}),
        Case("ResNet-20 student, to the last LIF", up_to_last_spikes(resnet), colour, jelly),
    )
