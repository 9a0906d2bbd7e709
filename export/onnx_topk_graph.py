"""The nodes of a dense network: normalisation, Gemm, and the competition of a Top-K layer."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from neurokd.export.onnx_file import PREFIX
from neurokd.export.onnx_graph import GraphBuilder, float_value
from neurokd.export.onnx_layers import Competition, Layer
from neurokd.export.onnx_qdq import FloatOperands, Int8Operands, wide_gemm
from neurokd.export.onnx_range import Range
from neurokd.export.onnx_topk_reference import LEAST_NORM

FORM = "dense"
"""In the metadata: one call a sample, no steps and no states."""


def build_dense(
    layers: Sequence[Layer],
    shape: tuple[int, ...],
    opset: int,
    ranges: dict[str, Range] | None = None,
) -> onnx.ModelProto:
    """Input x (B, *shape), output scores (B, K); int8 with ``ranges``, else float32.

    A layer: x → Relu → ReduceL2, Max, Div → Gemm → Relu → TopK(k + 1), Gather its last value I →
    Mul by the gains → Sub → Relu. A layer behind another needs no Relu in front, one without
    gains but 1 no Mul; a mask compares with I in place of the last three.
    """
    builder = GraphBuilder()
    builder.inputs.append(float_value("x", ["batch", *shape]))
    value = "x" if len(shape) == 1 else builder.node("Flatten", ["x"], "x.flat", axis=1)
    operands = FloatOperands() if ranges is None else Int8Operands(ranges)
    for index, layer in enumerate(layers):
        if layer.normalised:
            value = _normalised(builder, layer.name, value, positive=index > 0)
        gemm = operands(builder, layer.stage, value)
        output = "scores" if layer.last else f"{layer.name}.a"
        value = builder.node("Gemm", gemm, output, transB=1)
        if not layer.last:
            value = builder.node("Relu", [value], f"{layer.name}.positive")
        if layer.competition is not None:
            value = _competed(builder, layer.name, layer.competition, value)
    builder.outputs.append(float_value("scores", ["batch", layers[-1].weight.shape[0]]))
    return builder.model(f"neurokd_{FORM}", opset, _metadata(layers, ranges))


def _metadata(layers: Sequence[Layer], ranges: dict[str, Range] | None) -> dict[str, str]:
    wide = ranges is not None and wide_gemm([layer.stage for layer in layers], ranges)
    winners = [layer.competition.k for layer in layers if layer.competition is not None]
    entries = {
        "form": FORM,
        "precision": "float" if ranges is None else "int8",
        "static_input": json.dumps(True),
        "readout": "scores",
        "assumed_input": json.dumps(False),
        "wide_gemm": json.dumps(wide),
        "winners": json.dumps(winners),
    }
    return {f"{PREFIX}{key}": value for key, value in entries.items()}


def _normalised(builder: GraphBuilder, name: str, value: str, *, positive: bool) -> str:
    """x⁺ / max(‖x⁺‖₂, ε) of each sample; ``positive`` values are x⁺ already."""
    if not positive:
        value = builder.node("Relu", [value], f"{name}.x")
    axes = builder.constant("features", np.array([1], np.int64))
    norm = builder.node("ReduceL2", [value, axes], f"{name}.norm", keepdims=1)
    least = builder.constant("least_norm", np.asarray(LEAST_NORM, np.float32))
    bounded = builder.node("Max", [norm, least], f"{name}.norm_bounded")
    return builder.node("Div", [value, bounded], f"{name}.unit")


def _competed(builder: GraphBuilder, name: str, competition: Competition, positive: str) -> str:
    k = competition.k
    most = builder.constant(f"{name}.k_plus_1", np.array([k + 1], np.int64))
    outputs = [f"{name}.largest", f"{name}.indices"]
    node = helper.make_node(
        "TopK", [positive, most], outputs, f"{name}.topk", axis=1, largest=1, sorted=1
    )
    builder.nodes.append(node)
    last = builder.constant(f"{name}.k", np.array([k], np.int64))
    inhibition = builder.node("Gather", [outputs[0], last], f"{name}.inhibition", axis=1)
    gains = competition.gains
    if gains is None:
        wins = builder.node("Greater", [positive, inhibition], f"{name}.wins")
        none = builder.constant("none", np.asarray(0.0, np.float32))
        return builder.node("Where", [wins, positive, none], f"{name}.h")
    if np.any(gains != 1):
        uniform = bool(np.all(gains == gains[0]))
        factor = builder.constant(f"{name}.gains", gains[0] if uniform else gains)
        inhibition = builder.node("Mul", [inhibition, factor], f"{name}.inhibited_by")
    left = builder.node("Sub", [positive, inhibition], f"{name}.left")
    return builder.node("Relu", [left], f"{name}.h")
