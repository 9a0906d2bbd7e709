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
