"""Vector operations of sparse products that numba does not find by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
MASK_BITS = 64
"""Values that `nonzero_floats` looks at."""
WIDTH = 64
"""Values of a row that `add_scaled_rows` adds at once: eight registers of AVX2, four of AVX-512."""


def _operation(generator: Callable[..., Any]) -> Callable[..., Any]:
    """What a kernel calls in place of ``generator``, which gets the types and gives the code."""
    return cast(Callable[..., Any], intrinsic(generator))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def _load(builder: Any, pointer: Any, vector: Any) -> Any:
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    loaded.align = 4
    return loaded


@_operation
def nonzero_floats(typing_context: Any, values: Any, start: Any) -> Any:
    """Bit i is set where values[start + i] ≠ 0, of MASK_BITS float32, flat."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), MASK_BITS)
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        zero = ir.Constant(vector, [0.0] * MASK_BITS)
        mask = builder.fcmp_unordered("!=", _load(builder, pointer, vector), zero)
        return builder.bitcast(mask, ir.IntType(MASK_BITS))

    return types.uint64(values, types.intp), generate


@_operation
def add_scaled_rows(
    typing_context: Any,
    total: Any,
    at: Any,
    table: Any,
    column: Any,
    stride: Any,
    rows: Any,
    scales: Any,
    first: Any,
    last: Any,
) -> Any:
    """total[at + j] += Σₖ scales[k] · table[rows[k] · stride + column + j], j < WIDTH, k in order.

    For k from ``first`` to ``last`` − 1. The sums stay in registers. ``total``, ``table`` and
    ``scales`` are float32, ``rows`` integers, all one-dimensional and contiguous.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        total_type, _, table_type, _, _, rows_type, scales_type, _, _ = signature.args
        total_, at_, table_, column_, stride_, rows_, scales_, first_, last_ = arguments
        vector = ir.VectorType(ir.FloatType(), LANES)
        index = at_.type
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        reserve: Any = cgutils.alloca_once  # which numba does not annotate
        places, sums = [], []
        for part in range(WIDTH // LANES):
            offset = builder.add(at_, ir.Constant(index, part * LANES))
            places.append(_pointer(context, builder, total_type, total_, offset))
            sums.append(reserve(builder, vector))
            builder.store(_load(builder, places[-1], vector), sums[-1])
        one = ir.Constant(index, 1)
        with cgutils.for_range_slice(builder, first_, last_, one, index) as (k, _):
            row = builder.load(_pointer(context, builder, rows_type, rows_, k))
            scale = builder.load(_pointer(context, builder, scales_type, scales_, k))
            undefined = ir.Constant(vector, ir.Undefined)
            single = builder.insert_element(undefined, scale, ir.IntType(32)(0))
            splat = builder.shuffle_vector(single, undefined, lanes)
            start = builder.add(builder.mul(builder.sext(row, index), stride_), column_)
            pointer = _pointer(context, builder, table_type, table_, start)
            for part, kept in enumerate(sums):
                source = builder.gep(pointer, [ir.Constant(index, part * LANES)])
                # "contract": one fused operation where the processor has it
                product = builder.fmul(_load(builder, source, vector), splat, flags=("contract",))
                builder.store(builder.fadd(builder.load(kept), product, flags=("contract",)), kept)
        for place, kept in zip(places, sums, strict=True):
            stored = builder.store(builder.load(kept), builder.bitcast(place, vector.as_pointer()))
            stored.align = 4
        return context.get_dummy_value()

    integers = types.intp
    signature = types.void(
        total, integers, table, integers, integers, rows, scales, integers, integers
    )
    return signature, generate
