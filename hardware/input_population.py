"""Input populations: where data enters the chip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError, UsageError
from neurokd.hardware.fields import (
    require_choice,
    require_range,
    require_scale,
    require_shape,
    use_plain_numbers,
)

DECAY_LIMIT = (1 << 12) - 1
THRESHOLD_LIMIT = (1 << 17) - 1
BIAS_MANTISSA_LIMITS = (-(1 << 12), (1 << 12) - 1)
BIAS_EXPONENT_LIMIT = 7


@dataclass(frozen=True)
class InputPopulation:
    """Messages from outside: one a neuron and step.

    ``spikes``: binary, 0 or 1. ``graded``: integers of ``bits`` bits, sent as the payload of one
    spike; 0 sends nothing; ``signed`` admits negative ones of the same magnitude.
    `DeployedNetwork.encode` turns a float x into the message ``round(x · scale)``.
    """

    name: str
    shape: tuple[int, ...]
    encoding: Literal["spikes", "graded"] = "spikes"
    bits: int = 1
    scale: float = 1.0
    signed: bool = False

    variables: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"population {self.name!r}"
        require_shape(where, self.shape)
        require_choice(where, "input encoding", self.encoding, ("spikes", "graded"))
        require_range(where, "bits", self.bits, 1, 24 if self.encoding == "graded" else 1)
        if self.signed and self.encoding == "spikes":
            raise CapacityError("binary spikes have no sign", where=where, found="signed")
        require_scale(where, self.scale)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def max_message(self) -> int:
        """The largest magnitude that one neuron can send in a step."""
        return (1 << self.bits) - 1

    @property
    def min_value(self) -> int:
        """The smallest integer of the data."""
        return -self.max_message if self.signed else 0

    @property
    def max_value(self) -> int:
        """The largest integer of the data."""
        return self.max_message


@dataclass(frozen=True)
class CurrentInputPopulation:
    """LIF neurons driven by a constant current: the data is their bias mantissa.

    With m the integer of the sample, the same at every step::

        v ← clip( ±(|v|·(4096 − dv) >> 12) + (m << bias_exp), ±(2²³ − 1) )
        spike where v > (vth << 6), then v ← 0

    u stays 0. `DeployedNetwork.encode` turns a float x into ``round(x · scale + offset)``; the
    data has one set of integers a sample and no time axis, so a run takes ``steps``.
    Source: Lava `PyLifModelBitAcc` (lava-nc 0.10.0); design of Loihi 1's analog input.
    """

    name: str
    shape: tuple[int, ...]
    dv: int
    vth: int
    bias_exp: int = 6
    scale: float = 1.0
    offset: float = 0.0

    variables: ClassVar[tuple[str, ...]] = ("u", "v")

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"population {self.name!r}"
        require_shape(where, self.shape)
        require_range(where, "dv", self.dv, 0, DECAY_LIMIT + 1)
        require_range(where, "vth", self.vth, 0, THRESHOLD_LIMIT)
        require_range(where, "bias_exp", self.bias_exp, 0, BIAS_EXPONENT_LIMIT)
        require_scale(where, self.scale, self.offset)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def max_message(self) -> int:
        """The largest integer one neuron can send in a step: a spike is 1."""
        return 1

    @property
    def min_value(self) -> int:
        """The smallest integer of the data."""
        return BIAS_MANTISSA_LIMITS[0]

    @property
    def max_value(self) -> int:
        """The largest integer of the data."""
        return BIAS_MANTISSA_LIMITS[1]


@dataclass(frozen=True)
class DeltaInputPopulation:
    """Data sent as changes: the input of a sigma-delta network, the delta neuron of the chip.

    With x the integer of the step and k = spike_exp + state_exp::

        y = x << k,  δ = y − act + residue
        fires where |δ| ≥ vth << k   (cum_error: error ← error + δ, where |error| ≥ vth << k)
        s = δ where it fires else 0,  residue = δ − s,  act = y,  message = s >> state_exp
        (cum_error: error ← 0 where s ≠ 0)

    `DeployedNetwork.encode` turns a float x into ``round(x · scale + offset)``, of either sign.
    Source: Lava `PyDeltaModelFixed` (lava-nc 0.10.0).
    """

    name: str
    shape: tuple[int, ...]
    vth: int
    spike_exp: int = 0
    state_exp: int = 0
    cum_error: bool = False
    bits: int = 16
    scale: float = 1.0
    offset: float = 0.0

    variables: ClassVar[tuple[str, ...]] = ("act", "residue", "error")

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"population {self.name!r}"
        require_shape(where, self.shape)
        require_range(where, "spike_exp", self.spike_exp, 0, 7)
        require_range(where, "state_exp", self.state_exp, 0, 7)
        limit = ((1 << 31) - 1) >> (self.spike_exp + self.state_exp)
        require_range(where, "vth", self.vth, 0, limit)
        require_range(where, "bits", self.bits, 1, 24)
        require_scale(where, self.scale, self.offset)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def max_message(self) -> int:
        """The largest magnitude of a message: the change since the last one sent."""
        change = (2 * self.max_value) << (self.spike_exp + self.state_exp)
        return min(change, 1 << 31) >> self.state_exp

    @property
    def min_value(self) -> int:
        """The smallest integer of the data."""
        return -self.max_value

    @property
    def max_value(self) -> int:
        """The largest integer of the data."""
        return (1 << self.bits) - 1


def as_integers(
    population: InputPopulation | CurrentInputPopulation | DeltaInputPopulation,
    samples: NDArray[np.floating[Any]],
) -> NDArray[np.int32]:
    """The integers of float samples, round(x · scale + offset).

    Raises: `UsageError` (a value that the population cannot send).
    """
    offset = 0.0 if isinstance(population, InputPopulation) else population.offset
    low, high = population.min_value, population.max_value
    values = np.rint(np.asarray(samples, dtype=np.float64) * population.scale + offset)
    bad = ~np.isfinite(values) | (values < low) | (values > high)
    if bad.any():
        bounds = [(bound - offset) / population.scale for bound in (low, high)]
        raise UsageError(
            "the data has a value that the input cannot send",
            where=f"input {population.name!r}",
            expected=f"{bounds[0]:g} … {bounds[1]:g}",
            found=f"{float(np.asarray(samples)[bad][0]):g}",
        )
    return values.astype(np.int32)
