"""Quantised network: a lowered network that is trained in the integers it is deployed with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokd.errors import UnsupportedModuleError
from neurokd.export.float_network import FloatNetwork, FloatProjection
from neurokd.export.lowering import Lowering
from neurokd.export.weight_grid import WeightGrid
from neurokd.training.quantise_neurons import QuantisedNeurons
from neurokd.training.quantise_weights import QuantisedWeights


class QuantisedNetwork(nn.Module):
    """The populations and projections of ``network``, whose scales a lowering found, in torch.

    Its spikes are those of the deployed network in chip time, each population's own delay taken
    off: weights, exponents, decays, thresholds, biases and the arithmetic are the chip's. Scales
    stay as they were found; weights and biases are learnt. ``stages`` are the student's
    ``feature_stages``: those of this network are the neurons that end them.

    Shapes: x (T, B, *shape) floats, as the student takes them → (T, B, *output shape): the
    accumulator's membrane in floats, or how often each output has spiked so far.
    Raises: `UnsupportedModuleError` for recurrent, delayed or sparse projections, and for a first
    layer on the host.
    """

    def __init__(self, state: Lowering, network: FloatNetwork, stages: Sequence[str] = ()) -> None:
        super().__init__()
        if state.hosted is not None:
            raise UnsupportedModuleError(
                "the host computes the first layer, which fine-tuning does not cover",
                where=f"population {state.hosted!r}",
                found=f"chip {state.options.chip!r}",
                remedy="fine-tune for loihi2",
            )
        self.input = state.options.input
        self.output = network.output
        self.stages = tuple(stages)
        self.names = [population.name for population in network.neurons]
        self.scales = {name: state.scales[name] for name in self.names}
        self.exponents = {p.name: state.exponents[p.name] for p in network.projections}
        for projection in network.projections:
            _require_plain(projection)
        self.neurons = nn.ModuleList(
            QuantisedNeurons(p, state.neurons[p.name], state.scales[p.name])
            for p in network.neurons
        )
        self.weights = nn.ModuleList()
        for p in network.projections:
            exponent = self.exponents[p.name]
            factor = state.scales[p.target] / state.message_scale(p.source) / 2.0**exponent
            grid = WeightGrid(state.options.bits(p.name))
            self.weights.append(QuantisedWeights(p, factor, exponent, grid))

    @property
    def feature_stages(self) -> tuple[str, ...]:
        """Module paths of the neurons that distillation compares: those that end each of the
        student's stages, or without stages those that the output listens to."""
        return tuple(map(self.stage, self.stages)) or (self._heard(),)

    def stage(self, path: str) -> str:
        """Module path of the neurons that end the student's module at ``path``."""
        prefix = path.replace(".", "_")  # as tracing names the neurons of a module
        inside = [n for n in self.names if n == prefix or n.startswith(f"{prefix}_")]
        if not inside:
            raise UnsupportedModuleError(
                "no neurons end this stage, so no features of it can be distilled",
                where=f"stage {path!r}",
                found=f"neurons {', '.join(self.names)}",
                remedy="fine-tune without [distill]",
            )
        return f"neurons.{self.names.index(inside[-1])}"

    def _heard(self) -> str:
        sources = {p.source for p in self._incoming(self.output)} & set(self.names)
        if len(sources) != 1:
            raise UnsupportedModuleError(
                "no single layer feeds the output, so no features can be distilled",
                where=f"output {self.output!r}",
                found=", ".join(sorted(sources)) or "the input alone",
                remedy="fine-tune without [distill]",
            )
        return f"neurons.{self.names.index(sources.pop())}"

    def populations(self) -> list[QuantisedNeurons]:
        """The neuron populations, each after those it listens to."""
        return [neurons for neurons in self.neurons if isinstance(neurons, QuantisedNeurons)]

    def projections(self) -> list[QuantisedWeights]:
        """The projections between them."""
        return [weights for weights in self.weights if isinstance(weights, QuantisedWeights)]

    def spikes(self, x: Tensor) -> dict[str, Tensor]:
        """What every population sends, and the output's membrane where it does not spike."""
        sent = {self.input.name: self._messages(x)}
        for name, neurons in zip(self.names, self.populations(), strict=True):
            shape = neurons.neuron.shape
            arriving = [
                _currents(weights, sent[weights.projection.source], shape)
                for weights in self.projections()
                if weights.projection.target == name
            ]
            sent[name] = neurons(torch.stack(arriving).sum(dim=0) if arriving[1:] else arriving[0])
        return sent

    def forward(self, x: Tensor) -> Tensor:
        output = self.spikes(x)[self.output]
        spiking = self.populations()[self.names.index(self.output)].neuron.spiking
        return output.cumsum(dim=0) if spiking else output

    def _messages(self, x: Tensor) -> Tensor:
        """Whole numbers, as `DeployedNetwork.encode` rounds them."""
        once = x[:1] if x.stride(0) == 0 else x
        most = self.input.max_message
        rounded = torch.round(once.double() * self.input.scale)
        sent = rounded.clamp(-most if self.input.signed else 0, most).float()
        return sent.expand(x.shape) if len(once) < len(x) else sent

    def _incoming(self, name: str) -> list[FloatProjection]:
        projections = [weights.projection for weights in self.projections()]
        return [p for p in projections if p.target == name]


def _currents(weights: QuantisedWeights, messages: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Σ W s, whole numbers. Shapes: (T, B, *source shape) → (T, B, *shape)."""
    steps = len(messages)
    if messages.stride(0) == 0:
        messages = messages[:1]
    merged = messages.flatten(0, 1)
    geometry = weights.projection.geometry
    if geometry is None:
        sums = F.linear(merged.flatten(1), weights())
    else:
        sums = F.conv2d(
            merged,
            weights(),
            None,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            geometry.groups,
        )
    # whole numbers already, unless the convolution's algorithm rounds (Winograd, TF32)
    sums = sums + (sums.detach().round() - sums.detach())
    currents = sums.reshape(len(messages), -1, *shape)
    return currents.expand(steps, *currents.shape[1:]) if len(messages) < steps else currents


def _require_plain(projection: FloatProjection) -> None:
    if projection.recurrent or projection.lag or projection.lags is not None:
        raise UnsupportedModuleError(
            "quantisation-aware fine-tuning covers feed-forward networks without delays",
            where=f"projection {projection.name!r}",
            remedy="export without fine-tuning",
        )
    if projection.ends is not None:
        raise UnsupportedModuleError(
            "quantisation-aware fine-tuning covers convolutions and dense layers",
            where=f"projection {projection.name!r}",
            found="a sparse projection",
            remedy="export without fine-tuning",
        )
