"""Projections: the synapses between two populations, dense, sparse or convolutional.

Every projection delivers what it accumulated one step later: a spike sent at step t changes its
target at step t + 1, or at t + 1 + d through a synapse of delay d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError
from neurokd.hardware.conv_projection import ConvProjection, sum_pool
from neurokd.hardware.fields import integers, use_plain_numbers
from neurokd.hardware.sparse_projection import SparseProjection
from neurokd.hardware.weight_format import WEIGHT_LIMITS, check_format, checked_delays, stored

__all__ = [
    "WEIGHT_LIMITS",
    "ConvProjection",
    "DenseProjection",
    "Projection",
    "SparseProjection",
    "check_projection",
    "sum_pool",
]


@dataclass(frozen=True)
class DenseProjection:
    """All-to-all synapses: a = (W s) shifted by ``weight_exp``.

    What the chip stores of W is ``effective_weight``: clipped to the sign mode's range and
    truncated to ``num_weight_bits``. ``delays``: chip steps beyond the one that every delivery
    takes, for each synapse; None is 0 everywhere. The exponent shifts what arrives in one step
    with one delay, before delays are summed. ``recurrent``: closes a loop, so that depths are
    counted without it.

    Shapes: ``weight``, ``delays`` (target size, source size) integers, both sides flattened in C
    order.
    Source: Lava `PyDenseModelBitAcc`, `PyDelayDenseModelBitAcc` (lava-nc 0.10.0).
    """

    name: str
    source: str
    target: str
    weight: NDArray[np.int32]
    weight_exp: int = 0
    num_weight_bits: int = 8
    sign_mode: Literal["mixed", "excitatory", "inhibitory"] = "mixed"
    delays: NDArray[np.int32] | None = None
    recurrent: bool = False

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"projection {self.name!r}"
        weight = integers(where, "weight", self.weight)
        if weight.ndim != 2:
            raise ShapeMismatchError(
                "a dense weight has two axes",
                where=where,
                expected="(target size, source size)",
                found=str(weight.shape),
            )
        check_format(where, self.num_weight_bits, self.weight_exp, self.sign_mode)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "delays", checked_delays(where, self.delays, weight.shape))

    @property
    def effective_weight(self) -> NDArray[np.int32]:
        """The integers the chip computes with, before the exponent."""
        return stored(self.weight, self.num_weight_bits, self.sign_mode)

    @property
    def synapses(self) -> int:
        """Number of stored synapses, zero weights included."""
        return int(self.weight.size)


Projection = DenseProjection | SparseProjection | ConvProjection


def check_projection(
    projection: Projection, source_shape: tuple[int, ...], target_shape: tuple[int, ...]
) -> None:
    """Raise `ShapeMismatchError` unless the projection maps the source's shape to the target's."""
    if isinstance(projection, SparseProjection):
        projection.check_ends(math.prod(source_shape), math.prod(target_shape))
        return
    if isinstance(projection, DenseProjection):
        expected = (math.prod(target_shape), math.prod(source_shape))
        if projection.weight.shape != expected:
            raise ShapeMismatchError(
                "the weight does not fit its populations",
                where=f"projection {projection.name!r}",
                expected=str(expected),
                found=str(projection.weight.shape),
            )
        return
    produced = projection.output_shape(source_shape)
    if produced != target_shape:
        raise ShapeMismatchError(
            "the convolution does not produce its target's shape",
            where=f"projection {projection.name!r}",
            expected=str(target_shape),
            found=str(produced),
        )
