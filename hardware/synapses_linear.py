"""Linear maps of projections on a device: Σ w s in a float type, all GEMMs or sparse products.

Convolutions are unfolded into a GEMM, since other algorithms (Winograd, FFT) round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from neurokd.hardware.projection import ConvProjection

_COLUMNS_AT_ONCE = 1 << 19
"""Elements of the unfolded input held at a time: few enough for a cache, enough for a GEMM."""
_PRODUCTS_AT_ONCE = 1 << 22


class Matrix:
    """All-to-all synapses; ``weight`` (target size, source size)."""

    def __init__(self, weight: NDArray[np.int32], device: torch.device) -> None:
        self.reach = _largest_row(np.abs(weight.astype(np.int64)).sum(axis=1))
        self.largest_weight = int(np.abs(weight.astype(np.int64)).max(initial=0))
        self._weight = torch.from_numpy(weight).to(device)
        self._cast: dict[torch.dtype, Tensor] = {}

    def __call__(self, messages: Tensor, dtype: torch.dtype) -> Tensor:
        """Σ w s: (N, *source) → (N, target size) of ``dtype``."""
        if dtype not in self._cast:
            self._cast[dtype] = self._weight.to(dtype).T.contiguous()
        return messages.flatten(1).to(dtype) @ self._cast[dtype]

    def wrapped_products(self, messages: Tensor) -> Tensor:
        """Σ int32(w s), each product wrapped around at 32 bits, the sum not: (N, target) int64."""
        flat = messages.flatten(1).to(torch.int32)
        at_once = max(1, _PRODUCTS_AT_ONCE // max(1, self._weight.numel()))
        return torch.cat(
            [
                (self._weight * part[:, None, :]).sum(dim=2, dtype=torch.int64)
                for part in flat.split(at_once)
            ]
        )


class SparseMatrix:
    """Synapses given one by one."""

    def __init__(
        self,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        weight: NDArray[np.int32],
        shape: tuple[int, int],
        device: torch.device,
    ) -> None:
        magnitude = np.abs(weight.astype(np.int64))
        # bincount adds in float64, exact for as many magnitudes of 2^8 as fit a memory
        self.reach = _largest_row(np.bincount(rows, magnitude, minlength=1).astype(np.int64))
        self._ends = torch.from_numpy(np.stack([rows, columns]).astype(np.int64)).to(device)
        self._weight = torch.from_numpy(weight).to(device)
        self._shape = shape
        self._cast: dict[torch.dtype, Tensor] = {}

    def __call__(self, messages: Tensor, dtype: torch.dtype) -> Tensor:
        """Σ w s: (N, *source) → (N, target size) of ``dtype``."""
        if dtype not in self._cast:
            self._cast[dtype] = torch.sparse_coo_tensor(
                self._ends, self._weight.to(dtype), self._shape, check_invariants=True
            ).coalesce()
        columns = messages.flatten(1).to(dtype).T.contiguous()
        sums: Tensor = torch.sparse.mm(self._cast[dtype], columns)
        return sums.T


class Kernel:
    """Convolutional synapses on a source of a given shape."""

    def __init__(
        self, conv: ConvProjection, source_shape: tuple[int, ...], device: torch.device
    ) -> None:
        weight = conv.effective_weight
        rows = np.abs(weight.astype(np.int64)).reshape(len(weight), -1)
        self.reach = _largest_row(rows.sum(axis=1))
        self._conv = conv
        _, height, width = conv.output_shape(source_shape)
        self._column = rows.shape[1] * conv.groups * height * width
        self._weight = torch.from_numpy(weight).to(device)
        self._cast: dict[torch.dtype, Tensor] = {}

    def __call__(self, messages: Tensor, dtype: torch.dtype) -> Tensor:
        """Σ w s: (N, C_in, H, W) → (N, target size) of ``dtype``."""
        if dtype not in self._cast:
            groups = self._conv.groups
            grouped = self._weight.to(dtype).reshape(groups, len(self._weight) // groups, -1)
            self._cast[dtype] = grouped
        parts = messages.split(max(1, _COLUMNS_AT_ONCE // self._column))
        return torch.cat([self._sums(part.to(dtype)).flatten(1) for part in parts])

    def _sums(self, messages: Tensor) -> Tensor:
        conv = self._conv
        columns = F.unfold(
            messages,
            kernel_size=(conv.weight.shape[2], conv.weight.shape[3]),
            dilation=conv.dilation,
            padding=conv.padding,
            stride=conv.stride,
        )
        grouped = columns.reshape(len(messages), conv.groups, -1, columns.shape[-1])
        return torch.matmul(self._cast[messages.dtype], grouped)


Linear = Matrix | SparseMatrix | Kernel


def _largest_row(sums: NDArray[np.integer[Any]]) -> int:
    return int(sums.max(initial=0))
