"""Compilation of kernels by numba, without the GIL, kept on disk; their vector operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_Function = TypeVar("_Function", bound=Callable[..., Any])

LANES = 16
"""Elements that `add_vector` handles: what a row of weights is padded to."""
MASK_BITS = 64
"""Bytes that `nonzero_mask` looks at."""


def compiled(function: _Function) -> _Function:
    """The function compiled at its first call, without the GIL, and kept on disk.

    numba keeps it beside the source, or in the user's cache folder where that cannot be written
    (``NUMBA_CACHE_DIR`` names another), under a key of source, processor and its features.
    Integers wrap around as in C; there is no bounds check, so a kernel's tests are its proof.
    """
    return cast(_Function, numba.njit(nogil=True, cache=True, boundscheck=False)(function))


def _vector_operation(generator: Callable[..., Any]) -> Callable[..., Any]:
    """What a kernel calls in place of ``generator``, which gets the types and gives the code."""
    return cast(Callable[..., Any], intrinsic(generator))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset])


def _load(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, lanes: int) -> Any:
    element = context.get_data_type(array_type.dtype)
    vector = ir.VectorType(element, lanes)
    pointer = _pointer(context, builder, array_type, array, offset)
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    loaded.align = array_type.dtype.bitwidth // 8
    return loaded


@_vector_operation
def add_vector(typing_context: Any, total: Any, at: Any, row: Any, start: Any) -> Any:
    """total[at : at + LANES] += row[start : start + LANES], integers that wrap around.

    ``total`` and ``row`` are one-dimensional and contiguous; ``row`` is as wide or narrower.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total_type, _, row_type, _ = signature.args
        total_value, at_value, row_value, start_value = arguments
        wide = ir.VectorType(context.get_data_type(total_type.dtype), LANES)
        before = _load(context, builder, total_type, total_value, at_value, LANES)
        added = _load(context, builder, row_type, row_value, start_value, LANES)
        if row_type.dtype.bitwidth < total_type.dtype.bitwidth:
            added = builder.sext(added, wide)
        pointer = _pointer(context, builder, total_type, total_value, at_value)
        store = builder.store(
            builder.add(before, added), builder.bitcast(pointer, wide.as_pointer())
        )
        store.align = total_type.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(total, types.intp, row, types.intp), generate


@_vector_operation
def add_four_vectors(
    typing_context: Any,
    total: Any,
    at: Any,
    row: Any,
    first: Any,
    second: Any,
    third: Any,
    last: Any,
) -> Any:
    """`add_vector` with the vectors of ``row`` at four places, one load and store of the total."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total_type, row_type = signature.args[0], signature.args[2]
        total_value, at_value, row_value, *starts = arguments
        wide = ir.VectorType(context.get_data_type(total_type.dtype), LANES)
        after = _load(context, builder, total_type, total_value, at_value, LANES)
        for start in starts:
            added = _load(context, builder, row_type, row_value, start, LANES)
            if row_type.dtype.bitwidth < total_type.dtype.bitwidth:
                added = builder.sext(added, wide)
            after = builder.add(after, added)
        pointer = _pointer(context, builder, total_type, total_value, at_value)
        store = builder.store(after, builder.bitcast(pointer, wide.as_pointer()))
        store.align = total_type.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(total, types.intp, row, *[types.intp] * 4), generate


@_vector_operation
def add_scaled_vector(
    typing_context: Any, total: Any, at: Any, row: Any, start: Any, factor: Any
) -> Any:
    """total[at : at + LANES] += factor · row[start : start + LANES], as `add_vector`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total_type, _, row_type, _, _ = signature.args
        total_value, at_value, row_value, start_value, factor_value = arguments
        element = context.get_data_type(total_type.dtype)
        wide = ir.VectorType(element, LANES)
        before = _load(context, builder, total_type, total_value, at_value, LANES)
        added = _load(context, builder, row_type, row_value, start_value, LANES)
        if row_type.dtype.bitwidth < total_type.dtype.bitwidth:
            added = builder.sext(added, wide)
        narrow = builder.trunc(factor_value, element)
        single = builder.insert_element(ir.Constant(wide, ir.Undefined), narrow, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        splat = builder.shuffle_vector(single, ir.Constant(wide, ir.Undefined), lanes)
        pointer = _pointer(context, builder, total_type, total_value, at_value)
        store = builder.store(
            builder.add(before, builder.mul(added, splat)),
            builder.bitcast(pointer, wide.as_pointer()),
        )
        store.align = total_type.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(total, types.intp, row, types.intp, types.intp), generate


@_vector_operation
def nonzero_mask(typing_context: Any, values: Any, start: Any) -> Any:
    """Bit i is set where values[start + i] ≠ 0, for the 64 bytes from ``start``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_type = signature.args[0]
        loaded = _load(context, builder, values_type, arguments[0], arguments[1], MASK_BITS)
        zero = ir.Constant(loaded.type, [0] * MASK_BITS)
        return builder.bitcast(builder.icmp_unsigned("!=", loaded, zero), ir.IntType(MASK_BITS))

    return types.uint64(values, types.intp), generate


@_vector_operation
def lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Index of the lowest set bit of a uint64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate
