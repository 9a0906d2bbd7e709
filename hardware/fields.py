"""Field checks: what a population's or a projection's integers must keep."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError, ShapeMismatchError


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


def require_shape(where: str, shape: tuple[int, ...]) -> None:
    """`ShapeMismatchError` unless there is a neuron along every axis."""
    if not shape or min(shape) < 1:
        raise ShapeMismatchError(
            "a population has at least one neuron along every axis", where=where, found=str(shape)
        )


def require_range(where: str, field: str, value: int, low: int, high: int) -> None:
    """`CapacityError` unless low ≤ value ≤ high."""
    if not low <= value <= high:
        raise CapacityError(
            f"{field} is out of range", where=where, expected=f"{low} … {high}", found=str(value)
        )


def require_choice(where: str, field: str, value: str, choices: tuple[str, ...]) -> None:
    """`CapacityError` unless the value is one of the choices."""
    if value not in choices:
        raise CapacityError(
            f"unknown {field}", where=where, expected=" | ".join(choices), found=repr(value)
        )


def per_neuron(
    where: str, field: str, values: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.int32]:
    """``values`` as int32 of the population's shape."""
    array = integers(where, field, values)
    if array.shape != shape:
        raise ShapeMismatchError(
            f"{field} does not fit the population",
            where=where,
            expected=str(shape),
            found=str(array.shape),
        )
    return array
