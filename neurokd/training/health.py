"""Health of a spiking network in training: how often its layers spike."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import snntorch
import torch
from torch import Tensor, nn

from neurokd.errors import DeadLayerError
from neurokd.neurons import LIF, CubaLIF

SATURATED = 1 - 1e-6
"""From this rate on a layer fires at every step; a rate is that precise."""


class SpikeRates:
    """Counts the spikes of every LIF, CubaLIF and snnTorch neuron while a network is trained.

    Passes in evaluation mode are not counted. The hooks go with this object, as those of
    `StageFeatures` do. Neurons that never reset are readouts, and are left out.

    Units: spikes a neuron and step, from 0 to 1.
    """

    def __init__(self, model: nn.Module) -> None:
        self._spikes: dict[str, Tensor] = {}
        self._places: dict[str, int] = {}
        kept = weakref.ref(self)
        for path, module in _neurons(model):
            weakref.finalize(self, module.register_forward_hook(_counting(path, kept)).remove)

    def take(self) -> dict[str, float]:
        """Mean rate by module path since the last call; a layer that did not run has none."""
        rates = {path: float(n) / self._places[path] for path, n in self._spikes.items()}
        self._spikes, self._places = {}, {}
        return rates

    def _count(self, path: str, spikes: Tensor) -> None:
        # A sum in single precision costs a tenth of a count of what is not zero, and misses nothing
        # that matters: it is 0 if and only if there is no spike. It stays a tensor, since reading
        # the number here would make a GPU wait.
        kind = torch.promote_types(spikes.dtype, torch.float32)
        total = spikes.detach().sum(dtype=kind).double()
        known = self._spikes.get(path)
        self._spikes[path] = total if known is None else known + total
        self._places[path] = self._places.get(path, 0) + spikes.numel()


def _neurons(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    cells = {id(m.cell) for m in model.modules() if isinstance(m, (LIF, CubaLIF))}
    for path, module in model.named_modules():
        own = isinstance(module, (LIF, CubaLIF))
        foreign = isinstance(module, snntorch.SpikingNeuron) and id(module) not in cells
        if own or (foreign and module.reset_mechanism != "none"):
            yield path, module


def _counting(
    path: str, kept: weakref.ref[SpikeRates]
) -> Callable[[nn.Module, Any, Tensor | tuple[Tensor, ...]], None]:
    def count(module: nn.Module, inputs: Any, output: Tensor | tuple[Tensor, ...]) -> None:
        rates = kept()
        if rates is not None and module.training:
            rates._count(path, output if isinstance(output, Tensor) else output[0])

    return count


def require_alive(rates: Mapping[str, float], where: str) -> None:
    """Raise `DeadLayerError` if a layer was silent, or fired at every step, over a whole epoch."""
    for path, rate in rates.items():
        if rate == 0:
            raise DeadLayerError(
                f"the neurons of layer {path!r} never spike",
                where=where,
                expected="a rate above 0",
                found="no spike in the whole epoch",
                remedy="lower model.threshold, raise recipe.learning_rate, "
                "or check that the data lie between 0 and 1",
            )
        if rate > SATURATED:
            raise DeadLayerError(
                f"the neurons of layer {path!r} spike at every step",
                where=where,
                expected="a rate below 1",
                found="every neuron, sample and step of the epoch",
                remedy="raise model.threshold, lower recipe.learning_rate, "
                "or check that the data lie between 0 and 1",
            )
