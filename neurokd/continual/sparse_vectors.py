"""Vector operations that find a few large values among many, as numba does not by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 64
"""Values that are looked at together: one bit each in a mask, one maximum each."""
LANES = 16


def _operation(generator: Callable[..., Any]) -> Callable[..., Any]:
    """What a kernel calls in place of ``generator``, which gets the types and gives the code."""
    return cast(Callable[..., Any], intrinsic(generator))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def _load(builder: Any, pointer: Any, lanes: int) -> Any:
    vector = ir.VectorType(ir.FloatType(), lanes)
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    loaded.align = 4
    return loaded


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(ir.FloatType(), lanes), ir.Undefined)
    single = builder.insert_element(undefined, value, ir.IntType(32)(0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(single, undefined, places)


@_operation
def at_least(typing_context: Any, values: Any, start: Any, least: Any) -> Any:
    """Bit i is set where values[start + i] ≥ least, of BLOCK float32, flat."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_, start_, least_ = arguments
        loaded = _load(
            builder, _pointer(context, builder, signature.args[0], values_, start_), BLOCK
        )
        mask = builder.fcmp_ordered(">=", loaded, _spread(builder, least_, BLOCK))
        return builder.bitcast(mask, ir.IntType(BLOCK))

    return types.uint64(values, types.intp, types.float32), generate


@_operation
def over_scaled(
    typing_context: Any, values: Any, start: Any, scales: Any, begin: Any, factor: Any
) -> Any:
    """Bit i is set where max(values[start + i], 0) > scales[begin + i] · factor, of BLOCK float32.

    The product is rounded before it is compared, as in the dense form.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_, start_, scales_, begin_, factor_ = arguments
        value = _load(
            builder, _pointer(context, builder, signature.args[0], values_, start_), BLOCK
        )
        scale = _load(
            builder, _pointer(context, builder, signature.args[2], scales_, begin_), BLOCK
        )
        zero = ir.Constant(value.type, [0.0] * BLOCK)
        positive = builder.select(builder.fcmp_ordered(">", value, zero), value, zero)
        bound = builder.fmul(scale, _spread(builder, factor_, BLOCK))
        return builder.bitcast(builder.fcmp_ordered(">", positive, bound), ir.IntType(BLOCK))

    return types.uint64(values, types.intp, scales, types.intp, types.float32), generate


@_operation
def block_maxima(
    typing_context: Any, values: Any, start: Any, blocks: Any, maxima: Any, at: Any
) -> Any:
    """maxima[at + i] = maxₚ values[start + p · BLOCK + i] for p < blocks, or 0 if all are less."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_type, _, _, maxima_type, _ = signature.args
        values_, start_, blocks_, maxima_, at_ = arguments
        vector, index = ir.VectorType(ir.FloatType(), LANES), start_.type
        reserve: Any = cgutils.alloca_once  # which numba does not annotate
        kept = [reserve(builder, vector) for _ in range(BLOCK // LANES)]
        for place in kept:
            builder.store(ir.Constant(vector, [0.0] * LANES), place)
        one, zero = ir.Constant(index, 1), ir.Constant(index, 0)
        with cgutils.for_range_slice(builder, zero, blocks_, one, index) as (block, _):
            offset = builder.add(start_, builder.mul(block, ir.Constant(index, BLOCK)))
            pointer = _pointer(context, builder, values_type, values_, offset)
            for part, place in enumerate(kept):
                source = builder.gep(pointer, [ir.Constant(index, part * LANES)])
                value, before = _load(builder, source, LANES), builder.load(place)
                larger = builder.fcmp_ordered(">", value, before)
                builder.store(builder.select(larger, value, before), place)
        for part, place in enumerate(kept):
            offset = builder.add(at_, ir.Constant(index, part * LANES))
            target = _pointer(context, builder, maxima_type, maxima_, offset)
            stored = builder.store(
                builder.load(place), builder.bitcast(target, vector.as_pointer())
            )
            stored.align = 4
        return context.get_dummy_value()

    return types.void(values, types.intp, types.intp, maxima, types.intp), generate


@_operation
def count_at_least(typing_context: Any, values: Any, start: Any, least: Any) -> Any:
    """How many of BLOCK float32, flat, from ``start`` on are ≥ ``least``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_, start_, least_ = arguments
        pointer = _pointer(context, builder, signature.args[0], values_, start_)
        mask = builder.fcmp_ordered(
            ">=", _load(builder, pointer, BLOCK), _spread(builder, least_, BLOCK)
        )
        return builder.ctpop(builder.bitcast(mask, ir.IntType(BLOCK)))

    return types.int64(values, types.intp, types.float32), generate


def _folded(builder: Any, vector: Any, lanes: int) -> Any:
    """The sum of a vector's lanes, halves added to halves."""
    while lanes > 1:
        lanes //= 2
        undefined = ir.Constant(vector.type, ir.Undefined)
        halves = [
            builder.shuffle_vector(
                vector,
                undefined,
                ir.Constant(
                    ir.VectorType(ir.IntType(32), lanes), list(range(first, first + lanes))
                ),
            )
            for first in (0, lanes)
        ]
        vector = builder.fadd(*halves)
    return builder.extract_element(vector, ir.IntType(32)(0))


def _over_vectors(builder: Any, start: Any, size: Any, body: Callable[[Any], None]) -> None:
    """``body`` with the offset of each vector of LANES values below ``size``, which divides."""
    index = start.type
    step = ir.Constant(index, LANES)
    with cgutils.for_range_slice(builder, ir.Constant(index, 0), size, step, index) as (offset, _):
        body(offset)


@_operation
def sum_of_squares(typing_context: Any, values: Any, start: Any, size: Any) -> Any:
    """Σ values[start + j]² for j < size, which divides by LANES; float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_, start_, size_ = arguments
        vector = ir.VectorType(ir.FloatType(), LANES)
        reserve: Any = cgutils.alloca_once  # which numba does not annotate
        total = reserve(builder, vector)
        builder.store(ir.Constant(vector, [0.0] * LANES), total)

        def add(offset: Any) -> None:
            place = builder.add(start_, offset)
            value = _load(
                builder, _pointer(context, builder, signature.args[0], values_, place), LANES
            )
            builder.store(builder.fadd(builder.load(total), builder.fmul(value, value)), total)

        _over_vectors(builder, start_, size_, add)
        return _folded(builder, builder.load(total), LANES)

    return types.float32(values, types.intp, types.intp), generate


@_operation
def descend(
    typing_context: Any, values: Any, start: Any, slopes: Any, begin: Any, size: Any, rate: Any
) -> Any:
    """values[start + j] ← max(values[start + j] − rate · slopes[begin + j], 0); gives Σ of squares.

    For j < size, which divides by LANES; all float32 and flat.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_, start_, slopes_, begin_, size_, rate_ = arguments
        vector = ir.VectorType(ir.FloatType(), LANES)
        zero = ir.Constant(vector, [0.0] * LANES)
        reserve: Any = cgutils.alloca_once  # which numba does not annotate
        total = reserve(builder, vector)
        builder.store(zero, total)
        factor = _spread(builder, rate_, LANES)

        def change(offset: Any) -> None:
            pointer = _pointer(
                context, builder, signature.args[0], values_, builder.add(start_, offset)
            )
            place = builder.add(begin_, offset)
            slope = _load(
                builder, _pointer(context, builder, signature.args[2], slopes_, place), LANES
            )
            moved = builder.fsub(_load(builder, pointer, LANES), builder.fmul(slope, factor))
            # a NaN stays one, for the loss to tell
            kept = builder.select(builder.fcmp_ordered("<", moved, zero), zero, moved)
            stored = builder.store(kept, builder.bitcast(pointer, vector.as_pointer()))
            stored.align = 4
            builder.store(builder.fadd(builder.load(total), builder.fmul(kept, kept)), total)

        _over_vectors(builder, start_, size_, change)
        return _folded(builder, builder.load(total), LANES)

    signature = types.float32(values, types.intp, slopes, types.intp, types.intp, types.float32)
    return signature, generate
