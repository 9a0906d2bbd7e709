"""Field checks: what a population's or a projection's integers must keep."""

from __future__ import annotations

import math
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import CapacityError, ShapeMismatchError, UsageError


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


def numbers(where: str, values: Any) -> NDArray[Any]:
    """``values`` as an array of integers or floats; `UsageError` for anything else."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UsageError("the data is no array", where=where, found=str(error)) from error
    if array.dtype.kind not in "iubf":
        raise UsageError(
            "the data is no array of numbers",
            where=where,
            expected="integers or floats",
            found=str(array.dtype),
        )
    return array


def use_plain_numbers(item: Any) -> None:
    """NumPy's numbers among the fields of a dataclass as Python's, whose integers never wrap."""
    for entry in fields(item):
        value = getattr(item, entry.name)
        plain = tuple(map(_plain, value)) if isinstance(value, tuple) else _plain(value)
        object.__setattr__(item, entry.name, plain)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def is_integer(value: object) -> bool:
    """Whether a value is an integer by its type, of Python or of NumPy, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def require_shape(where: str, shape: tuple[int, ...]) -> None:
    """`ShapeMismatchError` unless there is a neuron along every axis."""
    if not isinstance(shape, tuple) or not shape or not all(is_integer(n) and n > 0 for n in shape):
        raise ShapeMismatchError(
            "a population has at least one neuron along every axis",
            where=where,
            expected="a tuple of integers ≥ 1",
            found=str(shape),
        )


def require_scale(where: str, scale: float, offset: float = 0.0) -> None:
    """`CapacityError` unless the scale is a positive number and the offset a number."""
    for number in (scale, offset):
        if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
            break
    else:
        if scale > 0:
            return
    raise CapacityError(
        "the input scale must be a positive number, its offset a number",
        where=where,
        found=f"scale {scale}, offset {offset}",
    )


def require_range(where: str, field: str, value: int, low: int, high: int) -> None:
    """`CapacityError` unless the value is an integer and low ≤ value ≤ high."""
    if not is_integer(value):
        raise CapacityError(
            f"{field} is no integer", where=where, expected=f"{low} … {high}", found=repr(value)
        )
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
