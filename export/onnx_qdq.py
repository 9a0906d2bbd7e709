"""QuantizeLinear/DequantizeLinear pairs around Conv and Gemm: int8 weights, uint8 activations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import UsageError
from neurokd.export.onnx_graph import GraphBuilder
from neurokd.export.onnx_plan import Stage
from neurokd.export.onnx_range import Range

Array = NDArray[Any]

WEIGHT_MAX = 127
INT16_MAX = 2**15 - 1
BIAS_MAX = 2**30
"""Biases stay inside int32 with one bit to spare for the sum they start."""


def quantise_weight(
    weight: Array, bias: Array | None, input_scale: float
) -> tuple[Array, Array, Array | None]:
    """Per-channel symmetric int8 weights and int32 biases.

    Equation: w ≈ s_c · q, s_c = max|w_c| / 127, q in −127…127; b ≈ s_in · s_c · p, p int32. A
    channel whose bias would overflow int32 gets the larger scale |b| / (s_in · 2^30).

    Shapes: weight (C_out, …) → int8 alike, scale (C_out,) float32, bias (C_out,) int32.
    """
    wide = np.asarray(weight, dtype=np.float64)
    scale = np.abs(wide).reshape(wide.shape[0], -1).max(axis=1) / WEIGHT_MAX
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias) / (input_scale * BIAS_MAX))
    scale = np.where(scale == 0.0, 1.0, np.maximum(scale, np.finfo(np.float32).tiny))
    scale = scale.astype(np.float32)
    divisor = scale.astype(np.float64)
    steps = np.rint(wide / divisor.reshape(-1, *(1 for _ in wide.shape[1:])))
    levels = np.clip(steps, -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)
    if bias is None:
        return levels, scale, None
    return levels, scale, np.rint(bias / (input_scale * divisor)).astype(np.int32)


def parameters(stage: Stage) -> tuple[Array, Array | None]:
    """Weight and bias of a weighted stage; a bias of zeros counts as none.

    Raises: `UsageError` when one of them is not a finite number.
    """
    weight = np.asarray(stage.node.weight, dtype=np.float32)
    bias = None if stage.op == "Linear" else np.asarray(stage.node.bias, dtype=np.float32)
    if not (np.all(np.isfinite(weight)) and (bias is None or np.all(np.isfinite(bias)))):
        raise UsageError(
            "the weights hold values that are not finite numbers",
            where=stage.name,
            remedy="train the network again, or correct the file",
        )
    return weight, None if bias is None or not np.any(bias) else bias


def wide_gemm(stages: Iterable[Stage], ranges: dict[str, Range]) -> bool:
    """Whether two products of an uint8 value and an int8 weight can pass 16 bits in some Gemm."""
    return any(
        2 * WEIGHT_MAX * ranges[stage.name].levels > INT16_MAX
        for stage in stages
        if stage.op in ("Affine", "Linear")
    )


class FloatOperands:
    """The operands of Conv and Gemm as they are, in float32."""

    def __call__(self, builder: GraphBuilder, stage: Stage, value: str) -> list[str]:
        weight, bias = parameters(stage)
        names = [value, builder.constant(f"{stage.name}.weight", weight)]
        return names if bias is None else [*names, builder.constant(f"{stage.name}.bias", bias)]


class Int8Operands:
    """The operands of Conv and Gemm behind QuantizeLinear and DequantizeLinear.

    ``ranges``: of the value that enters each weighted stage, by the stage's name.
    """

    def __init__(self, ranges: dict[str, Range]) -> None:
        self.ranges = ranges

    def __call__(self, builder: GraphBuilder, stage: Stage, value: str) -> list[str]:
        scale, zero = self.ranges[stage.name].uint8()
        weight, bias = parameters(stage)
        levels, weight_scale, levels_bias = quantise_weight(weight, bias, scale_float32(scale))
        operands = [
            self._activation(builder, value, scale, zero),
            self._dequantised(builder, f"{stage.name}.weight", levels, weight_scale),
        ]
        if levels_bias is not None:
            bias_scale = (np.float32(scale) * weight_scale).astype(np.float32)
            operands.append(
                self._dequantised(builder, f"{stage.name}.bias", levels_bias, bias_scale)
            )
        return operands

    @staticmethod
    def _activation(builder: GraphBuilder, value: str, scale: float, zero: int) -> str:
        parameters = [
            builder.constant(f"scale_{scale:.6g}", np.asarray(scale, dtype=np.float32)),
            builder.constant(f"zero_{zero}", np.asarray(zero, dtype=np.uint8)),
        ]

        def build() -> str:
            levels = builder.node("QuantizeLinear", [value, *parameters], f"{value}.uint8")
            return builder.node("DequantizeLinear", [levels, *parameters], f"{value}.grid")

        return builder.once(f"{value}.grid", build)

    @staticmethod
    def _dequantised(builder: GraphBuilder, name: str, levels: Array, scale: Array) -> str:
        zero = np.zeros(scale.shape, dtype=levels.dtype)

        def build() -> str:
            inputs = [
                builder.constant(f"{name}.levels", levels),
                builder.constant(f"{name}.scale", scale),
                builder.constant(f"{name}.zero", zero),
            ]
            return builder.node("DequantizeLinear", inputs, f"{name}.dequantised", axis=0)

        return builder.once(name, build)


def scale_float32(scale: float) -> float:
    """The scale as the file stores it."""
    return float(np.float32(scale))
