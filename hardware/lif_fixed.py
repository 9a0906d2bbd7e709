"""The CUBA-LIF neuron in Loihi's fixed point: one chip step, as pure functions on int32 tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurokd.hardware.population import STATE_LIMIT, STATE_SHIFT

_DECAY_BITS = 12
_DECAY_UNITY = 1 << _DECAY_BITS
_WRAP_AT = STATE_LIMIT + 1
_WRAP_BY = 2 * _WRAP_AT
_SHIFT_OVERFLOW = 1 << (31 - STATE_SHIFT)


def decay(state: Tensor, keep: int) -> Tensor:
    """What is left of a state variable after one step, rounded towards zero.

    Equation: sgn(x) · (|x| · keep >> 12), keep in 0 … 4096. The product needs more than 32 bits, so
    |x| is split into 4096 h + l: |x| · keep >> 12 = h · keep + (l · keep >> 12), which does not.
    Shapes: any; int32 with |x| < 2³¹.
    """
    if keep == _DECAY_UNITY:
        return state
    if keep == 0:
        return torch.zeros_like(state)
    magnitude = state.abs()
    high, low = magnitude >> _DECAY_BITS, magnitude & (_DECAY_UNITY - 1)
    kept = high * keep + ((low * keep) >> _DECAY_BITS)
    return torch.where(state < 0, -kept, kept)


def current_step(u: Tensor, a: Tensor, du: int) -> tuple[Tensor, Tensor]:
    """The current u after one step, and where it overflowed.

    Equation::

        y = int32( decay(u, 4095 − du) + int32(a << 6) )
        u = y − 2²⁴ if y > 2²³;  y + 2²⁴ if y ≤ −2²³;  else y

    The correction is made once and is no modulo: u may leave 24 bits.

    Shapes: int32 of one shape; the second result is bool, true where y or a step on the way to it
    did not fit (the chip's 24 bits or Lava's int32).
    Source: Lava `AbstractPyLifModelFixed.subthr_dynamics` (lava-nc 0.10.0), ds_offset = 1.
    """
    shifted = a << STATE_SHIFT
    lost = (a >= _SHIFT_OVERFLOW) | (a < -_SHIFT_OVERFLOW)
    keep = _DECAY_UNITY - 1 - du
    if keep == 0:
        y = shifted
    else:
        kept = decay(u, keep)
        y = kept + shifted
        lost |= ((kept ^ y) & (shifted ^ y)) < 0
    over, under = y > _WRAP_AT, y <= -_WRAP_AT
    wrapped = y - _WRAP_BY * over.to(torch.int32) + _WRAP_BY * under.to(torch.int32)
    return wrapped, lost | over | under


def current_step_in_range(u: Tensor, a: Tensor, du: int) -> Tensor:
    """`current_step` where `current_cannot_overflow` is proven: then y is u and nothing wraps."""
    shifted = a << STATE_SHIFT
    return shifted if du == _DECAY_UNITY - 1 else decay(u, _DECAY_UNITY - 1 - du) + shifted


def voltage_step(
    v: Tensor, u: Tensor, bias: Tensor, dv: int, vth: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The membrane v after one step and its reset, the spikes, and where v saturated.

    Equation::

        v = clip( decay(v, 4096 − dv) + u + bias, ±(2²³ − 1) )
        spike where v > (vth << 6), strictly; there v = 0

    Shapes: int32 of one shape (``bias`` broadcasts); spikes and saturation are bool.
    Source: Lava `PyLifModelBitAcc` (lava-nc 0.10.0), dm_offset = 0.
    """
    total = decay(v, _DECAY_UNITY - dv) + u + bias
    clipped = total.clamp(-STATE_LIMIT, STATE_LIMIT)
    spikes = clipped > (vth << STATE_SHIFT)
    return clipped.masked_fill(spikes, 0), spikes, clipped != total


def current_cannot_overflow(bound: int, du: int) -> bool:
    """Whether |a| ≤ ``bound`` at every step proves that u stays within 24 bits.

    From rest |u| ≤ |a| 2⁶ · Σ ((4095 − du) / 4096)ⁿ = |a| 2⁶ · 4096 / (du + 1); rounding lowers it.
    """
    return (bound << STATE_SHIFT) * _DECAY_UNITY < _WRAP_AT * (du + 1)


@dataclass(frozen=True)
class LIFUpdate:
    """One chip step of a LIF population; state (u, v), messages are its spikes (bool).

    ``bias`` is (neurons,), or (samples, neurons) where every sample has its own. ``in_range``: u is
    proven to stay within 24 bits (`current_cannot_overflow`).
    """

    du: int
    dv: int
    vth: int
    bias: Tensor
    in_range: bool

    variables = ("u", "v")
    dtype = torch.bool

    def __call__(
        self, state: dict[str, Tensor], a: Tensor
    ) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
        """State after the step, spikes, and by variable where it left its range."""
        lost = {}
        if self.in_range:
            u = current_step_in_range(state["u"], a, self.du)
        else:
            u, lost["u"] = current_step(state["u"], a, self.du)
        v, spikes, lost["v"] = voltage_step(state["v"], u, self.bias, self.dv, self.vth)
        return {"u": u, "v": v}, spikes, lost
