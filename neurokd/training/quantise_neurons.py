"""Quantised neurons: the chip's integer update forward, the float model's gradient backward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurokd.export.float_network import FloatPopulation
from neurokd.export.pass_thresholds import bias_integers
from neurokd.export.scale_limits import BIAS_LIMIT
from neurokd.hardware.population import STATE_LIMIT, STATE_SHIFT, LIFPopulation

_UNIT = 1 << STATE_SHIFT
_DECAY_UNITY = 4096
_WRAP_AT = STATE_LIMIT + 1


class QuantisedNeurons(nn.Module):
    """A population with the chip's decays, threshold and biases, whose bias is learnt.

    Shapes: a (T, B, *shape), whole numbers → spikes of the same shape; of an accumulator
    v / (64 A), the float model's membrane.
    """

    def __init__(self, population: FloatPopulation, neuron: LIFPopulation, scale: float) -> None:
        super().__init__()
        self.neuron = neuron
        self.scale = scale
        bias = np.asarray(population.bias, dtype=np.float32)
        if len(population.shape) > 1 and np.array_equal(
            bias, np.broadcast_to(bias[:, :1, :1], bias.shape)
        ):
            bias = bias[:, :1, :1]
        self.learnt = bool(bias.any())
        self.bias = nn.Parameter(torch.from_numpy(bias.copy()), requires_grad=self.learnt)

    def integers(self) -> tuple[np.ndarray[Any, np.dtype[np.int32]], int]:
        """The bias's mantissas and exponent, as `neurokd.export.pass_thresholds` makes them."""
        limit = BIAS_LIMIT / self.scale
        bias = self.bias.detach().double().clamp(-limit, limit)
        return bias_integers(self.neuron.name, self.scale * _UNIT * bias.cpu().numpy())

    @property
    def deployed(self) -> LIFPopulation:
        """The population with the bias learnt so far."""
        mantissa, exponent = self.integers()
        whole = np.ascontiguousarray(np.broadcast_to(mantissa, self.neuron.shape))
        return replace(self.neuron, bias_mant=whole, bias_exp=exponent)

    @property
    def snapped(self) -> Tensor:
        """The bias in floats, as the chip's integers have it. Shape: (C, 1, 1), or per neuron."""
        mantissa, exponent = self.integers()
        return torch.from_numpy(mantissa * (float(1 << exponent) / (_UNIT * self.scale)))

    def forward(self, a: Tensor) -> Tensor:
        mantissa, exponent = self.integers()
        bias = torch.from_numpy(mantissa.astype(np.float64) * (1 << exponent)).to(a.device)
        answer: Tensor = _ChipDynamics.apply(a, self.bias, bias, self.neuron, self.scale)  # type: ignore[no-untyped-call]
        return answer


class _ChipDynamics(torch.autograd.Function):
    """CUBA-LIF in Loihi's fixed point over T steps.

    Forward: the equations of `LIFPopulation`, on floats that hold whole numbers exactly.
    Backward: those of the student's `LIF`, v ← β v + u + b with v in units of 64 A, ∂s/∂v :=
    max(0, 1 − |v − θ|), the reset v ← (1 − s) v included.
    """

    @staticmethod
    def forward(
        ctx: Any, a: Tensor, bias: Tensor, integers: Tensor, neuron: LIFPopulation, scale: float
    ) -> Tensor:
        keep_u, keep_v = _DECAY_UNITY - 1 - neuron.du, _DECAY_UNITY - neuron.dv
        dtype = torch.float32 if keep_u == 0 and _is_power(keep_v) else torch.float64
        ratio_u, ratio_v = keep_u / _DECAY_UNITY, keep_v / _DECAY_UNITY
        added = integers.to(dtype)
        u = v = torch.zeros(a.shape[1:], dtype=dtype, device=a.device)
        threshold = float(neuron.vth * _UNIT)
        output, membranes = torch.empty_like(a), []
        for t, arriving in enumerate(a):
            y = arriving.to(dtype) * _UNIT
            if keep_u:
                y = y + torch.trunc(u * ratio_u)
            u = y - 2 * _WRAP_AT * (y > _WRAP_AT) + 2 * _WRAP_AT * (y <= -_WRAP_AT)
            v = (torch.trunc(v * ratio_v) + u + added).clamp(-STATE_LIMIT, STATE_LIMIT)
            if neuron.spiking:
                spikes = v > threshold
                membranes.append((v / (_UNIT * scale)).float())
                v = v.masked_fill(spikes, 0)
                output[t] = spikes
            else:
                output[t] = v / (_UNIT * scale)
        ctx.ratios, ctx.scale, ctx.bias_shape = (ratio_u, ratio_v), scale, bias.shape
        ctx.spiking, ctx.threshold = neuron.spiking, neuron.vth / scale
        ctx.save_for_backward(output, *membranes)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        output, *membranes = ctx.saved_tensors
        ratio_u, ratio_v = ctx.ratios
        arriving = torch.empty_like(output)
        to_u, to_v = torch.zeros_like(output[0]), torch.zeros_like(output[0])
        to_bias = torch.zeros_like(output[0])
        for t in range(len(output) - 1, -1, -1):
            if ctx.spiking:
                v = membranes[t]
                slope = (1 - (v - ctx.threshold).abs()).clamp(min=0)
                to_v = (gradients[0][t] - to_v * v) * slope + to_v * (1 - output[t])
            else:
                to_v = gradients[0][t] + to_v
            to_u = to_v + ratio_u * to_u
            arriving[t] = to_u / ctx.scale
            to_bias += to_v
            to_v = ratio_v * to_v
        return arriving, to_bias.sum_to_size((1, *ctx.bias_shape)).squeeze(0), None, None, None


def _is_power(keep: int) -> bool:
    """Whether v · keep / 4096 has no more bits than v: then float32 holds it exactly."""
    return keep & (keep - 1) == 0
