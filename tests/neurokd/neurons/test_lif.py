from __future__ import annotations

import nir
import numpy as np
import snntorch
import torch
from torch import Tensor, nn

from neurokd.export.simulate_nir import simulate_nir
from neurokd.export.trace import trace
from neurokd.models import ConvNet
from neurokd.neurons import LIF, Accumulator


def test_spike_train_by_hand() -> None:
    # β = 1/2, threshold 1: 0.75 | 0.375 + 0.625 = 1: no spike | 0.5 + 0.75 = 1.25: spike | 0 + 0.5
    current = torch.tensor([0.75, 0.625, 0.75, 0.5]).reshape(4, 1, 1)
    assert LIF(beta=0.5)(current).flatten().tolist() == [0, 0, 1, 0]


def test_equals_snntorch_step_by_step() -> None:
    current = torch.randn(20, 3, 7, generator=torch.Generator().manual_seed(0))
    cell = snntorch.Leaky(beta=0.75, threshold=0.6, reset_mechanism="zero", reset_delay=False)
    membrane, expected = torch.zeros(3, 7), []
    for x in current:
        spike, membrane = cell(x, membrane)
        expected.append(spike)
    found = LIF(beta=0.75, threshold=0.6)(current)
    assert torch.equal(found, torch.stack(expected))
    assert 0 < found.mean() < 1


def test_decay_lies_on_the_chips_grid() -> None:
    assert float(LIF(beta=0.9).cell.beta) * 4096 == 3686


def test_learnt_parameters_are_those_of_the_cell() -> None:
    neurons = LIF(torch.tensor([[0.5], [0.75]]), learn_beta=True, learn_threshold=True)
    current = torch.rand(6, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    neurons(current).sum().backward()
    assert {n: p.shape for n, p in neurons.named_parameters()} == {
        "cell.beta": (2, 1),
        "cell.threshold": (),
    }
    assert all(p.grad is not None and bool((p.grad != 0).all()) for p in neurons.parameters())


def snntorch_twin(network: ConvNet) -> nn.Sequential:
    """The same network of torch's and snnTorch's modules, for one step at a time."""
    layers: list[nn.Module] = []
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d, nn.Flatten)):
            layers.append(part)
        elif isinstance(part, nn.Linear):
            layers += [part, Accumulator()]
        elif isinstance(part, LIF):
            layers.append(
                snntorch.Leaky(
                    beta=part.cell.beta.clone(),
                    threshold=part.cell.threshold.clone(),
                    spike_grad=part.surrogate,  # snnTorch's own give float32 spikes
                    reset_mechanism="zero",
                    reset_delay=False,
                )
            )
    return nn.Sequential(*layers)


def test_a_trained_student_is_the_network_that_snntorch_computes() -> None:
    """After some training: the same NIR as from snnTorch's neurons, and the same spikes."""
    torch.manual_seed(0)
    network = ConvNet(1, (4, 6), (3, 3), (2, 1), classes=3, spiking=True, beta=0.75)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0  # so that few steps are enough for its statistics
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(5):
        x, y = torch.rand(8, 1, 9, 9), torch.randint(3, (8,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x.expand(4, *x.shape))[-1], y).backward()
        optimiser.step()
    network.eval().double()
    x = torch.rand(8, 1, 9, 9, dtype=torch.float64)
    graph = trace(network, x)
    twin = snntorch_twin(network).eval()
    neurons, readout = list(twin)[:-1], twin[-1]
    states: dict[int, Tensor] = {}
    currents = []
    with torch.no_grad():
        for _ in range(4):
            out = x
            for i, layer in enumerate(neurons):
                if isinstance(layer, snntorch.Leaky):
                    state = states.get(i)
                    out, states[i] = layer(out, torch.zeros_like(out) if state is None else state)
                else:
                    out = layer(out)
            currents.append(out)
        expected = readout(torch.stack(currents))
        found = network(x.expand(4, *x.shape))
        spikes = network.stages(x.expand(4, *x.shape))
    assert 0.01 < float(spikes.mean()) < 0.9
    assert torch.equal(found.argmax(-1), expected.argmax(-1))
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    simulated = simulate_nir(graph, x.expand(4, *x.shape).numpy())
    assert np.allclose(simulated.output, found.numpy(), rtol=0, atol=1e-12)
    names = [name for name, node in graph.nodes.items() if isinstance(node, nir.LIF)]
    assert len(names) == 2
    for name in names:
        node = graph.nodes[name]
        assert (node.tau == 4e-4).all()  # dt / (1 − 3/4)
        assert (node.r == 4).all() and (node.v_threshold == 1).all()
