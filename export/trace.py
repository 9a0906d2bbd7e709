"""Tracing: a torch module becomes a NIR graph, exactly or not at all."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

import neurokd
from neurokd.errors import ShapeMismatchError, UnsupportedModuleError, UsageError
from neurokd.export.nir_structure import DEFAULT_DT, Shape, node_shapes, pair
from neurokd.export.trace_capture import capture
from neurokd.export.trace_fold import fold
from neurokd.export.trace_layer import Layer
from neurokd.export.trace_modules import HANDLERS


def trace(
    module: nn.Module, sample: Tensor, *, steps: int | None = None, dt: float = DEFAULT_DT
) -> nir.NIRGraph:
    """The NIR graph of a spiking network; every operation is known or refused.

    Equation: a neuron v ← β v + x becomes LIF with τ = dt / (1 − β), r = τ / dt, leak and reset 0
    (β = 1: IF with r = 1 / dt); an accumulator becomes I with r = 1 / dt. Batch normalisation and
    the scale of averages are folded into linear layers, in float64, stored as float32.

    Shapes: sample (B, *shape), one step, whether the module takes one step or all; B is not stored.
    Units: dt in seconds.

    Raises: `UnsupportedModuleError` naming the module, the reason and the remedy; `UsageError`.
    """
    if not dt > 0 or (steps is not None and steps < 1):
        raise UsageError(
            "dt and steps must be positive", where="trace", found=f"dt={dt}, steps={steps}"
        )
    if sample.ndim < 2 or not sample.shape[0]:
        raise ShapeMismatchError(
            "a sample needs a batch axis and a shape",
            where="trace",
            expected="(B, *shape)",
            found=str(tuple(sample.shape)),
        )
    root = nn.Sequential(module) if type(module) in HANDLERS else module
    layers = fold(capture(root, sample))
    shape: Shape = tuple(sample.shape[1:])
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    shapes = {"input": shape}
    for name, layer in layers.items():
        arriving = shapes[layer.sources[0]] if layer.sources else shape
        nodes[name] = _node(layer, arriving, dt)
        edges.extend((source, name) for source in layer.sources)
        shapes[name] = _after(nodes[name], arriving)
    metadata = {"dt": dt, "reset": "zero", "spike_rule": ">", "neurokd": neurokd.__version__}
    if steps is not None:
        metadata["steps"] = steps
    try:
        graph = nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)
    except ValueError as error:
        raise UnsupportedModuleError(
            "nir refuses the types of the traced graph", where="trace", found=str(error)
        ) from error
    node_shapes(graph)
    return graph


def _after(node: Any, arriving: Shape) -> Shape:
    """The output shape of a node that was just made for this input."""
    probe = nir.NIRGraph(
        nodes={"input": nir.Input(np.array(arriving)), "node": node},
        edges=[("input", "node")],
        type_check=False,
    )
    return arriving if isinstance(node, nir.Input) else node_shapes(probe)["node"].output


def _node(layer: Layer, arriving: Shape, dt: float) -> Any:
    arrays, pairs = layer.arrays, layer.pairs
    if layer.kind == "input":
        return nir.Input(np.array(arriving))
    if layer.kind == "output":
        return nir.Output(np.array(arriving))
    if layer.kind == "linear":
        weight = _stored(arrays["weight"])
        if "bias" not in arrays:
            return nir.Linear(weight)
        return nir.Affine(weight, _stored(arrays["bias"]))
    if layer.kind == "conv":
        return nir.Conv2d(
            input_shape=pair(arriving[1:]),
            weight=_stored(arrays["weight"]),
            stride=pairs["stride"],
            padding=pairs["padding"],
            dilation=pairs["dilation"],
            groups=1,
            bias=_stored(arrays.get("bias", np.zeros(arrays["weight"].shape[0]))),
        )
    if layer.kind == "pool":
        return nir.SumPool2d(*(np.array(pairs[k]) for k in ("kernel", "stride", "padding")))
    if layer.kind == "flatten":
        start, end = pairs["dims"]
        return nir.Flatten({"input": np.array(arriving)}, start_dim=start, end_dim=end)
    if layer.kind == "accumulator":
        return nir.I(r=_stored(arrays["ones"] / dt))
    return _neuron(layer, dt)


def _neuron(layer: Layer, dt: float) -> Any:
    beta = layer.arrays["beta"]
    threshold = _stored(layer.arrays["threshold"])
    zero = np.zeros_like(threshold)
    if (beta == 1).all():
        return nir.IF(r=_stored(np.full(beta.shape, 1 / dt)), v_threshold=threshold, v_reset=zero)
    tau = dt / (1 - beta)
    return nir.LIF(
        tau=_stored(tau),
        r=_stored(tau / dt),
        v_leak=zero,
        v_threshold=threshold,
        v_reset=zero.copy(),
    )


def _stored(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)
