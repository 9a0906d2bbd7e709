"""From an SDMLP, or a dense MLP, to an ONNX model with Top-K, checked before it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurokd.atomic import write_bytes
from neurokd.errors import BackendFailedError, ShapeMismatchError, UsageError
from neurokd.export.onnx import OnnxReport, activation_entry, require_choice
from neurokd.export.onnx_check import Comparison, quantisation, require_quantised
from neurokd.export.onnx_file import parse_onnx
from neurokd.export.onnx_layers import Layer, layers_of
from neurokd.export.onnx_range import Range
from neurokd.export.onnx_runtime import run_file
from neurokd.export.onnx_topk_graph import FORM, build_dense
from neurokd.export.onnx_topk_reference import measured_ranges, reference_scores

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[Any]

PROBES = 32
CLOSE = 0.02
"""Of the scores' scale: what a value that is rounded to the next uint8 may change."""
FAR = 0.05
"""The fraction of scores that may differ by more: masks are cut where two values tie."""


def topk_to_onnx(
    network: nn.Module,
    path: str | Path,
    precision: str = "int8",
    *,
    sample_shape: Sequence[int] | None = None,
    calibration: NDArray[Any] | None = None,
    opset: int = 20,
) -> OnnxReport:
    """Write an SDMLP or a dense MLP as an ONNX model in float32, or with every Gemm in int8 (QDQ).

    One call maps samples to scores. The counters of Top-K layers become constant gains, so that
    neurons that have not reached g = 1 answer as they do in torch, more than k of them if need be.
    int8: weights symmetric per row, biases int32, what enters a Gemm uint8 over the range that the
    float network shows on ``calibration``; pixels without rounding where nothing normalises them.
    Normalisation and competition stay float32. Equal networks and data give equal bytes.

    Shapes: x (B, *shape), calibration alike; ``sample_shape`` is shape, else that of the
    calibration, else (inputs,). Scores (B, K).

    Raises: `UsageError`, `UnsupportedModuleError`, `ShapeMismatchError`, `CapacityError`,
    `BackendFailedError` (the proof fails: nothing is written).
    """
    require_choice("precision", precision)
    require_choice("opset", opset)
    layers = layers_of(network)
    inputs = layers[0].weight.shape[1]
    shape = _shape(inputs, sample_shape, calibration)
    data = None if calibration is None else _checked(calibration, shape)
    float_model = build_dense(layers, shape, opset)
    ranges: dict[str, Range] | None = None
    model = float_model
    if precision == "int8":
        if data is None:
            raise UsageError(
                "int8 needs data to know the ranges of activations",
                where=type(network).__name__,
                expected="calibration data",
                remedy="give samples that the network was trained on, or precision float",
            )
        ranges = measured_ranges(layers, data)
        model = build_dense(layers, shape, opset, ranges)
    content = model.SerializeToString()
    file = parse_onnx(content, str(path))
    if ranges is not None:
        require_quantised(file)
    probes = _probes(shape, data)
    real = len(probes) if data is None else len(probes) - PROBES
    compared = _compare(layers, ranges, probes, real, lambda x: run_file(file, x))
    found = quantisation(file.model)
    write_bytes(Path(path), content)
    return OnnxReport(
        path=str(path),
        form=FORM,
        precision=precision,
        opset=opset,
        ir_version=int(file.model.ir_version),
        steps=None,
        static_input=True,
        dt_s=None,
        readout="scores",
        nodes=len(file.model.graph.node),
        operators=file.operators,
        bytes=len(content),
        float_bytes=float_model.ByteSize(),
        quantised=found.quantised,
        unquantised=found.unquantised,
        activations={name: activation_entry(each) for name, each in (ranges or {}).items()},
        max_error=compared.max_error,
        quantisation_error=compared.quantisation_error,
        score_scale=compared.scale,
    )


def _shape(
    inputs: int, sample_shape: Sequence[int] | None, calibration: NDArray[Any] | None
) -> tuple[int, ...]:
    shape: tuple[int, ...] = (inputs,)
    if sample_shape is not None:
        shape = tuple(sample_shape)
    elif calibration is not None:
        shape = np.shape(calibration)[1:]
    if math.prod(shape) != inputs or not shape:
        raise ShapeMismatchError(
            "samples of this shape do not fit the network",
            where="sample_shape" if sample_shape is not None else "calibration",
            expected=f"{inputs} numbers a sample",
            found=str(shape),
        )
    return shape


def _checked(calibration: NDArray[Any], shape: tuple[int, ...]) -> Array:
    data = np.asarray(calibration)
    if data.ndim < 2 or data.shape[1:] != shape or not len(data):
        raise ShapeMismatchError(
            "the calibration data does not fit the network's input",
            where="calibration",
            expected=f"({', '.join(map(str, ('B', *shape)))})",
            found=str(data.shape),
        )
    if not np.all(np.isfinite(data)):
        raise UsageError(
            "the calibration data holds values that are not finite numbers",
            where="calibration",
            remedy="remove these samples",
        )
    return data


def _probes(shape: tuple[int, ...], data: Array | None) -> Array:
    """Samples of the calibration, spread over it, and as many random ones in their range."""
    high = 1.0 if data is None else max(float(np.abs(data).max()), 1e-6)
    probes = np.random.default_rng(0).uniform(0.0, high, (PROBES, *shape)).astype(np.float32)
    if data is None:
        return probes
    chosen = np.linspace(0, len(data) - 1, min(PROBES, len(data))).astype(int)
    return np.concatenate([data[chosen].astype(np.float32), probes])


def _compare(
    layers: Sequence[Layer],
    ranges: dict[str, Range] | None,
    x: Array,
    real: int,
    answer: Callable[[Array], Array],
) -> Comparison:
    """ONNX Runtime beside float64, with what the file holds and with the float network.

    What quantisation loses is measured on the first ``real`` samples, those that are not random.
    Raises: `BackendFailedError` when the answer has another shape, is not finite, or is far off.
    """
    expected = reference_scores(layers, x)
    stored = expected if ranges is None else reference_scores(layers, x, ranges)
    scores = answer(x)
    scale = float(np.abs(expected).max())
    error = np.abs(scores - stored) if scores.shape == stored.shape else np.array([np.nan])
    if not np.all(np.isfinite(error)) or np.mean(error > CLOSE * scale + 1e-6) > FAR:
        raise BackendFailedError(
            "ONNX Runtime's answer is not what the network gives",
            expected=f"scores of shape {stored.shape} up to {scale:.6g}",
            found=f"shape {scores.shape}, largest error {float(error.max()):.6g}",
            remedy="check the network's parameters; if they are sound, this is a defect of neurokd",
        )
    lost = np.abs(scores - expected)[:real]
    return Comparison(float(error.max()), float(lost.max()), scale)
