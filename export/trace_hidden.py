"""Mode and hidden states of a module: at rest while it is traced, afterwards as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import snntorch
import torch
from torch import nn

from neurokd.export.trace_neurons import STATES


@contextmanager
def undisturbed(root: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; mode and all states afterwards as they were.

    The states of other networks are kept as well: snnTorch's resets reach every neuron there is.
    """
    modes = [(module, module.training) for module in root.modules()]
    neurons = {m: None for m in (*root.modules(), *snntorch.SpikingNeuron.instances)}
    states = [
        (neuron, name, getattr(neuron, name))
        for neuron in neurons
        for name in ("spk", "syn", "mem")
        if isinstance(neuron, snntorch.SpikingNeuron) and hasattr(neuron, name)
    ]
    try:
        root.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
        for neuron, name, value in states:
            setattr(neuron, name, value)


def rest(root: nn.Module) -> None:
    """The neurons of this network, and of no other, at zero."""
    # not snntorch.utils.reset: it resets every network of the process, and misses copied ones
    neurons: list[Any] = [module for module in root.modules() if type(module) in STATES]
    for neuron in neurons:
        for name in STATES[type(neuron)]:
            setattr(neuron, name, torch.zeros(0, device=neuron.threshold.device))
