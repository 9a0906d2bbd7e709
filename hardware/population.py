"""Populations: groups of fixed-point neurons that share one parameter set, as the chip has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.fields import per_neuron, require_range, require_shape, use_plain_numbers
from neurokd.hardware.input_population import (
    BIAS_EXPONENT_LIMIT,
    BIAS_MANTISSA_LIMITS,
    DECAY_LIMIT,
    THRESHOLD_LIMIT,
    CurrentInputPopulation,
    DeltaInputPopulation,
    InputPopulation,
)
from neurokd.hardware.sigma_delta_population import (
    DeltaPopulation,
    SigmaDeltaPopulation,
    SigmaPopulation,
)

__all__ = [
    "BIAS_EXPONENT_LIMIT",
    "BIAS_MANTISSA_LIMITS",
    "DECAY_LIMIT",
    "INPUT_KINDS",
    "STATE_LIMIT",
    "STATE_SHIFT",
    "THRESHOLD_LIMIT",
    "AnyInputPopulation",
    "CurrentInputPopulation",
    "DeltaInputPopulation",
    "DeltaPopulation",
    "InputPopulation",
    "LIFPopulation",
    "NeuronPopulation",
    "Population",
    "SigmaDeltaPopulation",
    "SigmaPopulation",
    "output_variable",
]

STATE_LIMIT = (1 << 23) - 1
"""Magnitude at which the membrane v saturates (24 bits, signed)."""
STATE_SHIFT = 6
"""Synaptic input and threshold are shifted left by this much to meet u and v."""


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
    bound, from ``start_step`` on: the population is an accumulator and its output is v. Only such a
    one may have vth = 2¹⁷, which no v can exceed. du = −1 keeps all of u, dv = 4096 nothing of v;
    the chip has both by its decay offsets, and lava-dl's files use them.

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

    variables: ClassVar[tuple[str, ...]] = ("u", "v")

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"population {self.name!r}"
        require_shape(where, self.shape)
        require_range(where, "du", self.du, -1, DECAY_LIMIT)
        require_range(where, "dv", self.dv, 0, DECAY_LIMIT + 1)
        require_range(where, "vth", self.vth, 0, THRESHOLD_LIMIT + (not self.spiking))
        require_range(where, "bias_exp", self.bias_exp, 0, BIAS_EXPONENT_LIMIT)
        require_range(where, "start_step", self.start_step, 1, 1 << 20)
        bias = per_neuron(where, "bias_mant", self.bias_mant, self.shape)
        require_range(where, "bias_mant", int(bias.min()), *BIAS_MANTISSA_LIMITS)
        require_range(where, "bias_mant", int(bias.max()), *BIAS_MANTISSA_LIMITS)
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


AnyInputPopulation = InputPopulation | CurrentInputPopulation | DeltaInputPopulation
NeuronPopulation = LIFPopulation | SigmaPopulation | DeltaPopulation | SigmaDeltaPopulation
Population = AnyInputPopulation | NeuronPopulation
INPUT_KINDS = (InputPopulation, CurrentInputPopulation, DeltaInputPopulation)


def output_variable(population: Population) -> str:
    """What a population puts out of a network: "v", "sigma", or "spikes", its messages."""
    if isinstance(population, SigmaPopulation):
        return "sigma"
    accumulates = isinstance(population, LIFPopulation) and not population.spiking
    return "v" if accumulates else "spikes"
