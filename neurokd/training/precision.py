"""Precision: spiking neurons in float32 where the rest of a network is in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import snntorch
from torch import Tensor, nn

from neurokd.neurons import LIF, Accumulator, CubaLIF

_NEURONS = (LIF, CubaLIF, Accumulator, snntorch.SpikingNeuron)


@contextmanager
def neurons_in_float32(network: nn.Module) -> Iterator[None]:
    """In here, neurons get their currents in float32, and so integrate and spike in it.

    A membrane in bfloat16 has 8 significant bits: it forgets small currents, and spikes would not
    be those of the network that is exported. Convolutions and linear layers stay in bfloat16.
    """
    with ExitStack() as stack:
        for module in network.modules():
            if isinstance(module, _NEURONS):
                stack.callback(module.register_forward_pre_hook(_in_float32).remove)
        yield


def _in_float32(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
        for value in inputs
    )
