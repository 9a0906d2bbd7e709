"""Sigma and delta neurons in Lava's fixed point: one chip step, as pure functions on int32 tensors.

All state is int32 and wraps around as NumPy's does. Two edges follow from that: −2³¹ has no
magnitude in int32, so a δ or an error of −2³¹ stays below every threshold, and an error is not
cleared by sending it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

_INT32_MIN = -(1 << 31)
State = dict[str, Tensor]


def narrow(exact: Tensor) -> tuple[Tensor, Tensor]:
    """An int64 result as int32, wrapped around, and where it did not fit."""
    wrapped = exact.to(torch.int32)
    return wrapped, wrapped != exact


def encode_delta(
    y: Tensor, act: Tensor, residue: Tensor, error: Tensor, vth: int, cum_error: bool
) -> tuple[State, Tensor, dict[str, Tensor]]:
    """What is sent of an activation ``y``, in its own units, and the state that is left.

    Equation::

        δ = y − act + residue
        s = δ where |δ| ≥ vth else 0       (cum_error: error ← error + δ, where |error| ≥ vth)
        residue = δ − s,  act = y          (cum_error: error ← 0 where |s| > 0)

    Shapes: int32 of one shape. Returns act, residue and error; s; where δ or error were lost.
    Source: Lava `AbstractDeltaModel.delta_dynamics` (lava-nc 0.10.0).
    """
    delta, lost_delta = narrow(y.to(torch.int64) - act + residue)
    lost = {"delta": lost_delta | (delta == _INT32_MIN)}
    if cum_error:
        error, lost_error = narrow(error.to(torch.int64) + delta)
        lost["error"] = lost_error | (error == _INT32_MIN)
        sent = torch.where(error.abs() >= vth, delta, 0)
        error = error.masked_fill(sent.abs() > 0, 0)
    else:
        sent = torch.where(delta.abs() >= vth, delta, 0)
    return {"act": y, "residue": delta - sent, "error": error}, sent, lost


@dataclass(frozen=True)
class SigmaUpdate:
    """One chip step of sigma neurons: σ ← σ + a, and σ is the message."""

    variables = ("sigma",)
    dtype = torch.int32

    def __call__(self, state: State, a: Tensor) -> tuple[State, Tensor, dict[str, Tensor]]:
        """State after the step, messages, and by variable where it left its range."""
        sigma, lost = narrow(state["sigma"].to(torch.int64) + a)
        return {"sigma": sigma}, sigma, {"sigma": lost}


@dataclass(frozen=True)
class DeltaUpdate:
    """One chip step of delta neurons: y = a << (spike_exp + state_exp), sent by its changes."""

    vth: int
    spike_exp: int
    state_exp: int
    cum_error: bool

    variables = ("act", "residue", "error")
    dtype = torch.int32

    def __call__(self, state: State, a: Tensor) -> tuple[State, Tensor, dict[str, Tensor]]:
        """State after the step, messages, and by variable where it left its range."""
        shift = self.spike_exp + self.state_exp
        y = a << shift
        new, sent, lost = encode_delta(y, **state, vth=self.vth << shift, cum_error=self.cum_error)
        return new, sent >> self.state_exp, {"act": (y >> shift) != a} | lost


@dataclass(frozen=True)
class SigmaDeltaUpdate:
    """One chip step of sigma-delta neurons: y = activation(σ + bias), sent by its changes.

    ``bias`` is shifted by spike_exp + state_exp already, as Lava's process does it; σ is not.
    """

    vth: int
    bias: Tensor
    spike_exp: int
    state_exp: int
    cum_error: bool
    activation: Literal["relu", "identity"]

    variables = ("sigma", "act", "residue", "error")
    dtype = torch.int32

    def __call__(self, state: State, a: Tensor) -> tuple[State, Tensor, dict[str, Tensor]]:
        """State after the step, messages, and by variable where it left its range."""
        sigma, lost_sigma = narrow(state["sigma"].to(torch.int64) + a)
        y, lost_act = narrow(sigma.to(torch.int64) + self.bias)
        if self.activation == "relu":
            y = y.clamp(min=0)
        vth = self.vth << (self.spike_exp + self.state_exp)
        new, sent, lost = encode_delta(
            y, state["act"], state["residue"], state["error"], vth, self.cum_error
        )
        return (
            {"sigma": sigma} | new,
            sent >> self.state_exp,
            {"sigma": lost_sigma, "act": lost_act} | lost,
        )
