"""Populations: groups of fixed-point neurons that share one parameter set, as the chip has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError, ShapeMismatchError

DECAY_LIMIT = (1 << 12) - 1
THRESHOLD_LIMIT = (1 << 17) - 1
BIAS_MANTISSA_LIMITS = (-(1 << 12), (1 << 12) - 1)
BIAS_EXPONENT_LIMIT = 7
STATE_LIMIT = (1 << 23) - 1
"""Magnitude at which the membrane v saturates (24 bits, signed)."""
STATE_SHIFT = 6
"""Synaptic input and threshold are shifted left by this much to meet u and v."""


def integers(where: str, field: str, values: NDArray[Any]) -> NDArray[np.int32]:
    """``values`` as int32; `CapacityError` if they are no integers or do not fit."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise CapacityError(f"{field} does not hold integers", where=where, found=str(array.dtype))
    limits = np.iinfo(np.int32)
    if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
        raise CapacityError(
            f"{field} does not fit 32 bits",
            where=where,
            found=f"{int(array.min())} … {int(array.max())}",
        )
    return np.ascontiguousarray(array, dtype=np.int32)


def _require_shape(name: str, shape: tuple[int, ...]) -> None:
    if not shape or min(shape) < 1:
        raise ShapeMismatchError(
            "a population has at least one neuron along every axis",
            where=f"population {name!r}",
            found=str(shape),
        )


def _require_range(name: str, field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise CapacityError(
            f"{field} is out of range",
            where=f"population {name!r}",
            expected=f"{low} … {high}",
            found=str(value),
        )


@dataclass(frozen=True)
class InputPopulation:
    """Where data enters the chip: one message a neuron and step.

    ``spikes``: binary, 0 or 1. ``graded``: unsigned integers of ``bits`` bits, sent as the payload
    of one spike; 0 sends nothing. `DeployedNetwork.encode` turns a float x into the message
    ``round(x · scale)``.
    """

    name: str
    shape: tuple[int, ...]
    encoding: Literal["spikes", "graded"] = "spikes"
    bits: int = 1
    scale: float = 1.0

    def __post_init__(self) -> None:
        _require_shape(self.name, self.shape)
        if self.encoding not in ("spikes", "graded"):
            raise CapacityError(
                "unknown input encoding",
                where=f"population {self.name!r}",
                expected="spikes or graded",
                found=repr(self.encoding),
            )
        _require_range(self.name, "bits", self.bits, 1, 24 if self.encoding == "graded" else 1)
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise CapacityError(
                "the input scale must be a positive number",
                where=f"population {self.name!r}",
                found=str(self.scale),
            )

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def max_message(self) -> int:
        """The largest integer one neuron can send in a step."""
        return (1 << self.bits) - 1


@dataclass(frozen=True)
class LIFPopulation:
    """Current-based leaky integrate-and-fire neurons in Loihi's fixed point.

    With a the synaptic input of the step::

        u ← wrap24( ±(|u|·(4095 − du) >> 12) + (a << 6) )
        v ← clip( ±(|v|·(4096 − dv) >> 12) + u + (bias_mant << bias_exp), ±(2²³ − 1) )
        spike where v > (vth << 6), then v ← 0

    ``start_step``: on entering this chip step u and v are set to 0, so that what the neurons
    integrated before their first input arrived (bias, spikes of early layers) is forgotten;
    1 changes nothing. ``spiking=False`` states that the threshold is out of reach by a proven
    bound: the population is an accumulator and its output is v.

    Shapes: ``bias_mant`` is int32 of ``shape``. Units: all fields are the chip's integers.
    Source: Lava `PyLifModelBitAcc` (lava-nc 0.10.0).
    """

    name: str
    shape: tuple[int, ...]
    du: int
    dv: int
    vth: int
    bias_mant: NDArray[np.int32]
    bias_exp: int = 0
    start_step: int = 1
    spiking: bool = True

    def __post_init__(self) -> None:
        _require_shape(self.name, self.shape)
        _require_range(self.name, "du", self.du, 0, DECAY_LIMIT)
        _require_range(self.name, "dv", self.dv, 0, DECAY_LIMIT)
        _require_range(self.name, "vth", self.vth, 0, THRESHOLD_LIMIT)
        _require_range(self.name, "bias_exp", self.bias_exp, 0, BIAS_EXPONENT_LIMIT)
        _require_range(self.name, "start_step", self.start_step, 1, 1 << 20)
        bias = integers(f"population {self.name!r}", "bias_mant", self.bias_mant)
        if bias.shape != self.shape:
            raise ShapeMismatchError(
                "bias_mant does not fit the population",
                where=f"population {self.name!r}",
                expected=str(self.shape),
                found=str(bias.shape),
            )
        if bias.size:
            _require_range(self.name, "bias_mant", int(bias.min()), *BIAS_MANTISSA_LIMITS)
            _require_range(self.name, "bias_mant", int(bias.max()), *BIAS_MANTISSA_LIMITS)
        object.__setattr__(self, "bias_mant", bias)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def max_message(self) -> int:
        """The largest integer one neuron can send in a step: a spike is 1."""
        return 1

    @property
    def bias(self) -> NDArray[np.int64]:
        """What is added to v every step, in units of v."""
        return self.bias_mant.astype(np.int64) << self.bias_exp


Population = InputPopulation | LIFPopulation
