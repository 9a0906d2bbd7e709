"""Tracing: a torch module becomes a NIR graph, exactly or not at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

import neurokd
from neurokd.errors import ShapeMismatchError, UnsupportedModuleError, UsageError
from neurokd.export.nir_structure import DEFAULT_DT, node_shapes
from neurokd.export.trace_capture import Captured, capture
from neurokd.export.trace_fold import fold
from neurokd.export.trace_layer import Kind, Layers, Shape, shape_after
from neurokd.export.trace_neurons import ResetNone
from neurokd.export.trace_nodes import make_node

_WEIGHTED = ("linear", "conv", "scale")
_NEURONS = ("lif", "cuba", "threshold", "accumulator")


def trace(
    module: nn.Module,
    sample: Tensor,
    *,
    steps: int | None = None,
    dt: float = DEFAULT_DT,
    reset_none: ResetNone = "refuse",
) -> nir.NIRGraph:
    """The NIR graph of a spiking network; every operation is known or refused.

    Equation: a neuron v ← β v + x becomes LIF with τ = dt / (1 − β), r = τ / dt, leak and reset 0
    (β = 1: IF with r = 1 / dt), with a synapse i ← α i + x CubaLIF with τ_syn = dt / (1 − α) and
    w_in = τ_syn / dt; an accumulator becomes I with r = 1 / dt. Recurrent neurons get a layer back
    to themselves, whose spikes arrive one step later. With ``reset_none="threshold"`` a neuron
    without reset becomes LI and Threshold. Batch normalisation, the scale of averages and
    recurrent biases are folded into linear layers, in float64; grouped and rectangular
    convolutions become dense, square ones with the zeros this takes. All is stored as float32, or
    as float64 if the module is. The metadata states weights in the module (``weights``), in the
    graph (``weights_stored``), and ``neurons``.

    Shapes: sample (B, *shape), one step, whether the module takes one step or all; B is not stored.
    A time loop inside forward becomes one step, if all its steps are the same. Without one, the
    graph begins where the module does after its neurons were reset. Units: dt in seconds.

    Raises: `UnsupportedModuleError` naming the module, the reason and the remedy; `UsageError`.
    """
    _check_arguments(sample, steps, dt, reset_none)
    captured = capture(module, sample, steps, reset_none)
    layers = fold(captured.layers)
    _check_folded(captured.layers, layers)
    kinds = {name: layer.kind for name, layer in layers.items()}
    graph = _graph(layers, tuple(sample.shape[1:]), dt, _dtype(module))
    steps = captured.calling.steps or steps
    graph.metadata.update(
        dt=dt, reset=_resets(captured.layers), spike_rule=">", neurokd=neurokd.__version__
    )
    if steps is not None:
        graph.metadata["steps"] = steps
    graph.metadata.update(_counts(captured, kinds, graph))
    return graph


def _check_arguments(sample: Any, steps: Any, dt: Any, reset_none: Any) -> None:
    """Raises: `UsageError`; `ShapeMismatchError` for a sample that has no batch or no shape."""
    if isinstance(dt, bool) or not isinstance(dt, Real) or not 0 < float(dt) < math.inf:
        raise UsageError("dt is not a time", where="trace", expected="> 0 s", found=f"dt={dt!r}")
    whole = isinstance(steps, Integral) and not isinstance(steps, bool)
    if steps is not None and not (whole and steps >= 1):
        raise UsageError(
            "steps is not a number of steps",
            where="trace",
            expected="a whole number ≥ 1, or None",
            found=f"steps={steps!r}",
        )
    if reset_none not in ("refuse", "threshold"):
        raise UsageError(
            "unknown reset_none",
            where="trace",
            expected="refuse | threshold",
            found=repr(reset_none),
        )
    if not isinstance(sample, Tensor):
        raise UsageError(
            "the sample is no tensor",
            where="trace",
            expected="torch.Tensor (B, *shape)",
            found=type(sample).__name__,
            remedy="pass torch.as_tensor(sample)",
        )
    if sample.ndim < 2 or not sample.shape[0]:
        raise ShapeMismatchError(
            "a sample needs a batch axis and a shape",
            where="trace",
            expected="(B, *shape)",
            found=str(tuple(sample.shape)),
            remedy="pass a batch of one, sample[None], or data[:1]",
        )


def _graph(layers: Layers, shape: Shape, dt: float, dtype: Any) -> nir.NIRGraph:
    """The layers as nodes; each leaves ``layers``, so that its float64 weights make room."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    shapes = {"input": shape}
    for name in list(layers):
        layer = layers.pop(name)
        arriving = shapes[layer.sources[0]] if layer.sources else shape
        nodes[name] = make_node(layer, arriving, dt, dtype)
        edges.extend((source, name) for source in layer.sources)
        shapes[name] = shape_after(layer, arriving)
    try:
        graph = nir.NIRGraph(nodes=nodes, edges=edges, metadata={})
    except ValueError as error:
        raise UnsupportedModuleError(
            "nir refuses the types of the traced graph", where="trace", found=str(error)
        ) from error
    found = node_shapes(graph)
    for name, expected in shapes.items():
        _same(f"shape of {name!r}", expected, found[name].output)
    return graph


def _dtype(module: nn.Module) -> Any:
    """float64 for a module that holds any, else float32."""
    tensors = (*module.parameters(), *module.buffers())
    return np.float64 if any(t.dtype == torch.float64 for t in tensors) else np.float32


def _resets(layers: Layers) -> str:
    """How neurons reset: to zero, none of them, or some so and some so."""
    spiking = {
        layer.path for layer in layers.values() if layer.kind in ("lif", "cuba", "threshold")
    }
    zero = {layer.path for layer in layers.values() if layer.kind in ("lif", "cuba")}
    if zero == spiking:
        return "zero"
    return "mixed" if zero else "none"


def _weighted(layers: Layers) -> Layers:
    return {name: layer for name, layer in layers.items() if layer.kind in _WEIGHTED}


def _check_folded(captured: Layers, folded: Layers) -> None:
    """Raises: `UnsupportedModuleError` if folding lost a layer with weights, or a bias."""
    weighted = _weighted(captured)
    _same("layers with weights", sorted(weighted), sorted(_weighted(folded)))
    for name, layer in weighted.items():
        # a recurrent bias has moved, or fold has refused it
        had = "bias" in layer.arrays and not layer.feeds_back
        _same(f"bias of {name!r}", True, "bias" in folded[name].arrays or not had)


def _counts(captured: Captured, kinds: Mapping[str, Kind], graph: nir.NIRGraph) -> dict[str, int]:
    """Weights and neurons in the module and in the graph, once they are shown to agree.

    Raises: `UnsupportedModuleError` if anything was lost on the way.
    """
    weighted = _weighted(captured.layers)
    multiples = [graph.nodes[name] for name, kind in kinds.items() if kind == "multiple"]
    stored = sum(int(np.size(node.scale)) for node in multiples)
    for name, layer in weighted.items():
        node = graph.nodes[name]
        size = int(np.size(node.scale if isinstance(node, nir.Scale) else node.weight))
        _same(f"weights of {name!r}", layer.weights + layer.added, size)
        stored += size
    shapes = node_shapes(graph)
    # of the nodes that one neuron layer takes, the last is the one that spikes
    ends = {layer.path: name for name, layer in captured.layers.items() if layer.kind in _NEURONS}
    neurons = sum(math.prod(shapes[name].output) for name in ends.values())
    _same("neurons", captured.neurons, neurons)
    weights = sum(layer.weights for layer in weighted.values())
    return {"weights": weights, "weights_stored": stored, "neurons": neurons}


def _same(what: str, expected: Any, found: Any) -> None:
    if expected != found:
        raise UnsupportedModuleError(
            f"the {what} got lost in tracing",
            where="trace",
            expected=str(expected),
            found=str(found),
            remedy="report this",
        )
