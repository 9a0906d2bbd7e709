"""The proof of a built model: what is quantised, and that ONNX Runtime answers what NIR means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import BackendFailedError
from neurokd.export.onnx_file import OnnxFile
from neurokd.export.onnx_forms import Form
from neurokd.export.onnx_plan import WEIGHTED, Plan
from neurokd.export.onnx_qdq import parameters, quantise_weight, scale_float32
from neurokd.export.onnx_range import Range

if TYPE_CHECKING:
    import nir
    import onnx

Array = NDArray[Any]

PROBE_STEPS = 4
PROBE_BATCH = 4


@dataclass(frozen=True)
class Quantisation:
    """Which Conv and Gemm nodes are reached only through DequantizeLinear, and which are not."""

    quantised: tuple[str, ...]
    unquantised: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """ONNX Runtime's scores beside float64 simulations of NIR, on random input, untrained or not.

    ``max_error``: against the graph with the weights that the file holds (for float the graph
    itself), the rest of float32 rounding; ``quantisation_error``: against the graph itself.
    ``scale``: the largest score there, in the same units. A membrane within float32 rounding of
    its threshold may give one spike more or less, and analog values between two layers are rounded
    to uint8: ``max_error`` then shows it.
    """

    max_error: float
    quantisation_error: float
    scale: float


def quantisation(model: onnx.ModelProto) -> Quantisation:
    """Sort every Conv and Gemm by whether uint8 or int8 data alone reaches it.

    Quantised means: the value comes from DequantizeLinear of QuantizeLinear, the weight from
    DequantizeLinear of an int8 initializer, the bias, if any, of an int32 one.
    """
    import onnx

    makers = {output: node for node in model.graph.node for output in node.output}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}

    def stored(name: str, kind: int) -> bool:
        maker = makers.get(name)
        return (
            maker is not None
            and maker.op_type == "DequantizeLinear"
            and types.get(maker.input[0]) == kind
        )

    def activation(name: str) -> bool:
        maker = makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return False
        levels = makers.get(maker.input[0])
        return levels is not None and levels.op_type == "QuantizeLinear"

    done: list[str] = []
    left: list[str] = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            proven = activation(node.input[0]) and stored(node.input[1], onnx.TensorProto.INT8)
            if len(node.input) > 2:
                proven = proven and stored(node.input[2], onnx.TensorProto.INT32)
            (done if proven else left).append(node.name)
    return Quantisation(tuple(done), tuple(left))


def require_quantised(file: OnnxFile) -> None:
    """Raises: `BackendFailedError` naming the Conv and Gemm nodes that stayed in float."""
    left = quantisation(file.model).unquantised
    if left:
        raise BackendFailedError(
            "the int8 model still computes with float weights",
            where=file.where,
            found=", ".join(left),
            remedy="report this as a defect of neurokd",
        )


def compare(
    graph: nir.NIRGraph,
    plan: Plan,
    form: Form,
    input_range: Range,
    ranges: dict[str, Range],
    answer: Callable[[Array, int], Array],
) -> Comparison:
    """Run the model and the reference on the same random input.

    ``answer(x, steps)``: the model's scores for x (B, *shape), or (T, B, *shape) where the input
    changes over time. ``ranges``: of quantised layers' inputs, empty for a float model.

    Raises: `BackendFailedError` when the answer has another shape, is not finite, or differs from
    the reference by more than a tenth of the scores' scale in more than half of the scores.
    """
    steps = form.steps or PROBE_STEPS
    x = _probe(plan, input_range, (PROBE_BATCH,) if form.static_input else (steps, PROBE_BATCH))
    scores = answer(x, steps)
    expected = _reference(graph, plan, form, x, steps)
    stored = expected
    if ranges:
        stored = _reference(dequantised_graph(graph, plan, ranges), plan, form, x, steps)
    scale = float(np.abs(expected).max())
    error = np.abs(scores - stored) if scores.shape == stored.shape else np.array([np.nan])
    if not np.all(np.isfinite(error)) or np.mean(error > 0.1 * scale + 1e-6) > 0.5:
        raise BackendFailedError(
            "ONNX Runtime's answer is not what the network gives",
            expected=f"scores of shape {stored.shape} up to {scale:.6g}",
            found=f"shape {scores.shape}, largest error {float(error.max()):.6g}",
            remedy="check the network's parameters; if they are sound, this is a defect of neurokd",
        )
    return Comparison(float(error.max()), float(np.abs(scores - expected).max()), scale)


def _probe(plan: Plan, input_range: Range, lead: tuple[int, ...]) -> Array:
    """Random input on the levels that uint8 has: its own rounding is no error of the export."""
    scale, zero = input_range.uint8()
    low = max(0, round(input_range.low / scale) + zero)
    high = min(255, round(input_range.high / scale) + zero)
    levels = np.random.default_rng(0).integers(low, high + 1, (*lead, *plan.input.shape))
    return ((levels - zero) * scale).astype(np.float32)


def dequantised_graph(graph: nir.NIRGraph, plan: Plan, ranges: dict[str, Range]) -> nir.NIRGraph:
    """The NIR graph with the weights and biases that the int8 file holds, back in floats."""
    import nir

    nodes = dict(graph.nodes)
    for stage in plan.stages:
        if stage.op not in WEIGHTED:
            continue
        weight, bias = parameters(stage)
        input_scale = scale_float32(ranges[stage.name].uint8()[0])
        levels, scale, bias_levels = quantise_weight(weight, bias, input_scale)
        wide = scale.astype(np.float64)
        new = {"weight": levels * wide.reshape(-1, *(1 for _ in levels.shape[1:]))}
        if bias_levels is not None:
            new["bias"] = bias_levels * (input_scale * wide)
        nodes[stage.name] = replace(stage.node, **new)
    return nir.NIRGraph(
        nodes=nodes, edges=list(graph.edges), metadata=dict(graph.metadata), type_check=False
    )


def _reference(graph: nir.NIRGraph, plan: Plan, form: Form, x: Array, steps: int) -> Array:
    from neurokd.export.simulate_nir import simulate_nir

    signal = np.broadcast_to(x, (steps, *x.shape)) if form.static_input else x
    output = simulate_nir(graph, signal, dt=form.dt_s).output
    scores: Array = output[-1] if plan.readout == "last" else output.sum(axis=0)
    return scores
