"""Sigma-delta populations: neurons that send changes of their activation as graded spikes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.fields import (
    per_neuron,
    require_choice,
    require_range,
    require_shape,
    use_plain_numbers,
)

INT32_MAX = (1 << 31) - 1
_START_STEP_LIMIT = 1 << 20


@dataclass(frozen=True)
class SigmaPopulation:
    """Sums what arrives and sends the sum at every step: the decoder at the end.

    Equation: σ ← σ + a;  message = σ. All int32, which Lava lets wrap around.
    Source: Lava `PySigmaModelFixed` (lava-nc 0.10.0).
    """

    name: str
    shape: tuple[int, ...]
    start_step: int = 1

    variables: ClassVar[tuple[str, ...]] = ("sigma",)

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"population {self.name!r}"
        require_shape(where, self.shape)
        require_range(where, "start_step", self.start_step, 1, _START_STEP_LIMIT)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def max_message(self) -> int:
        """The largest magnitude that one neuron can send in a step."""
        return INT32_MAX + 1


@dataclass(frozen=True)
class DeltaPopulation:
    """Sends changes of what arrives, once they reach the threshold.

    With k = spike_exp + state_exp::

        y = a << k,  δ = y − act + residue
        fires where |δ| ≥ vth << k   (cum_error: error ← error + δ, where |error| ≥ vth << k)
        s = δ where it fires else 0,  residue = δ − s,  act = y,  message = s >> state_exp
        (cum_error: error ← 0 where s ≠ 0)

    Source: Lava `PyDeltaModelFixed` (lava-nc 0.10.0).
    """

    name: str
    shape: tuple[int, ...]
    vth: int
    spike_exp: int = 0
    state_exp: int = 0
    cum_error: bool = False
    start_step: int = 1

    variables: ClassVar[tuple[str, ...]] = ("act", "residue", "error")

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        _check_delta(self.name, self.shape, self.vth, self.spike_exp, self.state_exp)
        where = f"population {self.name!r}"
        require_range(where, "start_step", self.start_step, 1, _START_STEP_LIMIT)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def max_message(self) -> int:
        """The largest magnitude that one neuron can send in a step."""
        return (INT32_MAX + 1) >> self.state_exp


@dataclass(frozen=True)
class SigmaDeltaPopulation:
    """A rectified (or linear) neuron that receives changes and sends changes.

    With k = spike_exp + state_exp::

        σ ← σ + a
        y = max(0, σ + (bias << k))           (activation "identity": without the maximum)
        δ = y − act + residue
        fires where |δ| ≥ vth << k   (cum_error: error ← error + δ, where |error| ≥ vth << k)
        s = δ where it fires else 0,  residue = δ − s,  act = y,  message = s >> state_exp
        (cum_error: error ← 0 where s ≠ 0)

    Shapes: ``bias`` is int32 of ``shape``, within 32 bits once it is shifted.
    Source: Lava `PySigmaDeltaModelFixed` (lava-nc 0.10.0).
    """

    name: str
    shape: tuple[int, ...]
    vth: int
    bias: NDArray[np.int32]
    spike_exp: int = 0
    state_exp: int = 0
    cum_error: bool = False
    activation: Literal["relu", "identity"] = "relu"
    start_step: int = 1

    variables: ClassVar[tuple[str, ...]] = ("sigma", "act", "residue", "error")

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"population {self.name!r}"
        _check_delta(self.name, self.shape, self.vth, self.spike_exp, self.state_exp)
        require_choice(where, "activation", self.activation, ("relu", "identity"))
        require_range(where, "start_step", self.start_step, 1, _START_STEP_LIMIT)
        bias = per_neuron(where, "bias", self.bias, self.shape)
        limit = INT32_MAX >> (self.spike_exp + self.state_exp)
        require_range(where, "bias", int(bias.min()), -limit, limit)
        require_range(where, "bias", int(bias.max()), -limit, limit)
        object.__setattr__(self, "bias", bias)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def max_message(self) -> int:
        """The largest magnitude that one neuron can send in a step."""
        return (INT32_MAX + 1) >> self.state_exp


def _check_delta(
    name: str, shape: tuple[int, ...], vth: int, spike_exp: int, state_exp: int
) -> None:
    where = f"population {name!r}"
    require_shape(where, shape)
    require_range(where, "spike_exp", spike_exp, 0, 7)
    require_range(where, "state_exp", state_exp, 0, 7)
    require_range(where, "vth", vth, 0, INT32_MAX >> (spike_exp + state_exp))
