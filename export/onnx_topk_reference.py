"""What a dense network means, in float64 and without ONNX: for ranges, and to prove a model by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.export.onnx_layers import Competition, Layer
from neurokd.export.onnx_qdq import parameters, quantise_weight, scale_float32
from neurokd.export.onnx_range import UINT8_LEVELS, Range, observed_range

Array = NDArray[Any]

LEAST_NORM = 1e-12
"""What a smaller norm counts as: torch's for normalising."""
BATCH = 64


def reference_scores(
    layers: Sequence[Layer], x: Array, ranges: dict[str, Range] | None = None
) -> Array:
    """Scores in float64; with ``ranges``, of the int8 model: rounded weights, biases and values.

    Shapes: x (B, *shape) → (B, K).
    """
    h = x.reshape(len(x), -1).astype(np.float64)
    for layer in layers:
        h = incoming(layer, h)
        weight, bias = parameters(layer.stage)
        if ranges is None:
            h = h @ weight.astype(np.float64).T + (0.0 if bias is None else bias)
        else:
            h = _quantised(layer, h, ranges[layer.name])
        h = outgoing(layer, h)
    return h


def incoming(layer: Layer, x: Array) -> Array:
    """x⁺ / ‖x⁺‖₂ of each sample, or x itself where the layer does not normalise."""
    if not layer.normalised:
        return x
    positive = np.maximum(x, 0.0)
    norm = np.sqrt((positive**2).sum(axis=1, keepdims=True))
    return np.asarray(positive / np.maximum(norm, LEAST_NORM))


def outgoing(layer: Layer, a: Array) -> Array:
    """Activations behind the competition."""
    if layer.last:
        return a
    positive = np.maximum(a, 0.0)
    return positive if layer.competition is None else _competed(layer.competition, positive)


def _competed(competition: Competition, positive: Array) -> Array:
    inhibition = np.sort(positive, axis=1)[:, ::-1][:, competition.k : competition.k + 1]
    if competition.gains is None:
        return np.asarray(np.where(positive > inhibition, positive, 0.0))
    gains = competition.gains.astype(np.float64)
    return np.asarray(np.maximum(positive - gains * inhibition, 0.0))


def _quantised(layer: Layer, x: Array, values: Range) -> Array:
    """W x + b with the integers that the file holds, and x on its uint8 grid."""
    scale, zero = values.uint8()
    scale = scale_float32(scale)
    weight, bias = parameters(layer.stage)
    levels, weight_scale, bias_levels = quantise_weight(weight, bias, scale)
    wide = weight_scale.astype(np.float64)
    rounded = np.clip(np.rint(x / scale) + zero, 0, UINT8_LEVELS) - zero
    total = rounded @ levels.astype(np.float64).T
    if bias_levels is not None:
        total = total + bias_levels
    return np.asarray(total * (scale * wide))


def measured_ranges(layers: Sequence[Layer], calibration: Array) -> dict[str, Range]:
    """The range of what enters each layer of the float network, by the layer's name.

    Shapes: calibration (N, *shape).
    """
    found: dict[str, Range] = {}
    for start in range(0, len(calibration), BATCH):
        h = calibration[start : start + BATCH].reshape(-1, layers[0].weight.shape[1])
        h = h.astype(np.float64)
        for layer in layers:
            h = incoming(layer, h)
            seen = found.get(layer.name, Range(0.0, 0.0))
            low, high = min(seen.low, float(h.min())), max(seen.high, float(h.max()))
            found[layer.name] = Range(low, high)
            weight, bias = parameters(layer.stage)
            h = outgoing(layer, h @ weight.astype(np.float64).T + (0.0 if bias is None else bias))
    if not layers[0].normalised:
        found[layers[0].name] = observed_range(calibration)  # pixels lie on a grid
    return found
