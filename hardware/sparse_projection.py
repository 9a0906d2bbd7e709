"""Sparse projections: a list of synapses, each with its own ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UnsupportedNodeError
from neurokd.hardware.fields import integers, use_plain_numbers
from neurokd.hardware.weight_format import check_format, checked_delays, stored


@dataclass(frozen=True)
class SparseProjection:
    """Synapses given one by one: the arithmetic of a dense projection that stores only these.

    Synapse i leads from neuron ``columns[i]`` of the source to ``rows[i]`` of the target, both
    counted in C order; no pair occurs twice. They are kept sorted by row, then column.
    ``delays[i]``: chip steps beyond the one that every delivery takes; None is 0 everywhere.
    ``recurrent``: closes a loop, so that depths are counted without it.

    Shapes: ``rows``, ``columns``, ``weight``, ``delays`` (synapses,) integers.
    Source: Lava `PySparseModelBitAcc`, `PyDelaySparseModelBitAcc` (lava-nc 0.10.0).
    """

    name: str
    source: str
    target: str
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    weight: NDArray[np.int32]
    weight_exp: int = 0
    num_weight_bits: int = 8
    sign_mode: Literal["mixed", "excitatory", "inhibitory"] = "mixed"
    delays: NDArray[np.int32] | None = None
    recurrent: bool = False

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        where = f"projection {self.name!r}"
        rows, columns, weight = (
            integers(where, field, getattr(self, field)) for field in ("rows", "columns", "weight")
        )
        if weight.ndim != 1 or rows.shape != weight.shape or columns.shape != weight.shape:
            raise ShapeMismatchError(
                "rows, columns and weight are lists of one length",
                where=where,
                found=f"{rows.shape}, {columns.shape}, {weight.shape}",
            )
        check_format(where, self.num_weight_bits, self.weight_exp, self.sign_mode)
        delays = checked_delays(where, self.delays, weight.shape)
        order = np.lexsort((columns, rows))
        rows, columns = rows[order], columns[order]
        if ((np.diff(rows) == 0) & (np.diff(columns) == 0)).any():
            raise UnsupportedNodeError("two synapses join the same neurons", where=where)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "weight", weight[order])
        object.__setattr__(self, "delays", None if delays is None else delays[order])

    @property
    def effective_weight(self) -> NDArray[np.int32]:
        """The integers the chip computes with, before the exponent."""
        return stored(self.weight, self.num_weight_bits, self.sign_mode)

    @property
    def synapses(self) -> int:
        """Number of stored synapses."""
        return int(self.weight.size)

    def check_ends(self, source_size: int, target_size: int) -> None:
        """`ShapeMismatchError` unless every synapse has its ends in the two populations."""
        for field, size in (("rows", target_size), ("columns", source_size)):
            values = getattr(self, field)
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < size:
                raise ShapeMismatchError(
                    f"{field} name neurons that the population does not have",
                    where=f"projection {self.name!r}",
                    expected=f"0 … {size - 1}",
                    found=f"{int(values.min())} … {int(values.max())}",
                )
