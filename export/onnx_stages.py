"""One time step of a planned network as ONNX nodes; stateless nodes are built here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neurokd.errors import UnsupportedNodeError
from neurokd.export.nir_structure import conv_padding, pair
from neurokd.export.onnx_graph import GraphBuilder
from neurokd.export.onnx_neurons import neuron_step
from neurokd.export.onnx_plan import POOLING, WEIGHTED, Plan, Stage

Operands = Callable[[GraphBuilder, Stage, str], list[str]]
"""(builder, weighted stage, value) → the names of the value, the weight and, if any, the bias."""


@dataclass(frozen=True)
class StepValues:
    """The tensors of one step: each stage's value, each weighted stage's input, new membranes."""

    values: dict[str, str]
    inputs: dict[str, str]
    membranes: dict[str, str]


def build_step(
    builder: GraphBuilder,
    plan: Plan,
    operands: Operands,
    dt_s: float,
    x: str,
    membranes: dict[str, str],
    prefix: str,
    shared: dict[str, str] | None = None,
) -> StepValues:
    """Append one step. ``membranes`` are the old ones, absent where they are zero.

    ``shared`` are the values of static stages that an earlier step computed; those that this step
    computes are added to it. Without it every stage is computed.
    """
    values = {plan.input.name: x}
    inputs: dict[str, str] = {}
    after: dict[str, str] = {}
    for stage in plan.stages[1:]:
        if shared is not None and stage.name in shared:
            values[stage.name] = shared[stage.name]
            continue
        once = stage.static and shared is not None
        name = stage.name if once else f"{prefix}{stage.name}"
        fed = _sum(builder, [values[source] for source in stage.sources], name)
        inputs[stage.name] = fed
        if stage.stateful:
            old = membranes.get(stage.name)
            value, after[stage.name] = neuron_step(builder, stage, dt_s, fed, old, prefix)
        else:
            value = stateless(builder, stage, operands, fed, name)
        values[stage.name] = value
        if once and shared is not None:
            shared[stage.name] = value
    return StepValues(values, inputs, after)


def stateless(
    builder: GraphBuilder, stage: Stage, operands: Operands, value: str, name: str
) -> str:
    """Append a node without memory: (B, *source_shape) → (B, *shape)."""
    node = stage.node
    if stage.op == "Output":
        return value
    if stage.op == "Conv2d":
        return builder.node(
            "Conv",
            operands(builder, stage, value),
            f"{name}.out",
            kernel_shape=list(np.shape(node.weight)[2:]),
            strides=list(pair(node.stride)),
            dilations=list(pair(node.dilation)),
            pads=[*conv_padding(stage.name, node) * 2],
            group=int(node.groups),
        )
    if stage.op in WEIGHTED:
        return builder.node("Gemm", operands(builder, stage, value), f"{name}.out", transB=1)
    if stage.op in POOLING:
        return _pool(builder, stage, value, name)
    if stage.op == "Flatten":
        if len(stage.shape) == 1:
            return builder.node("Flatten", [value], f"{name}.out", axis=1)
        shape = builder.constant(f"{stage.name}.shape", np.array([0, *stage.shape], np.int64))
        return builder.node("Reshape", [value, shape], f"{name}.out")
    if stage.op == "Scale":
        scale = np.asarray(node.scale, dtype=np.float32)
        scale = scale.reshape(()) if scale.size == 1 else scale
        factor = builder.constant(f"{stage.name}.scale", scale)
        return builder.node("Mul", [value, factor], f"{name}.out")
    raise UnsupportedNodeError(
        f"{stage.op} has no ONNX form here", where=stage.name, remedy="replace the node"
    )


def _pool(builder: GraphBuilder, stage: Stage, value: str, name: str) -> str:
    kernel, stride, padding = (
        pair(each) for each in (stage.node.kernel_size, stage.node.stride, stage.node.padding)
    )
    if stage.op == "SumPool2d" and kernel == stage.source_shape[1:] and padding == (0, 0):
        axes = builder.constant("spatial_axes", np.array([2, 3], np.int64))
        return builder.node("ReduceSum", [value, axes], f"{name}.out", keepdims=1)
    mean = builder.node(
        "AveragePool",
        [value],
        f"{name}.mean" if stage.op == "SumPool2d" else f"{name}.out",
        kernel_shape=list(kernel),
        strides=list(stride),
        pads=[*padding, *padding],
        count_include_pad=1,  # torch's default, and NIR's only meaning
    )
    if stage.op == "AvgPool2d":
        return mean
    count = np.asarray(kernel[0] * kernel[1], dtype=np.float32)
    window = builder.constant(f"{stage.name}.window", count)
    return builder.node("Mul", [mean, window], f"{name}.out")


def _sum(builder: GraphBuilder, values: list[str], name: str) -> str:
    total = values[0]
    for position, value in enumerate(values[1:], start=1):
        label = f"{name}.sum" if position == len(values) - 1 else f"{name}.sum{position}"
        total = builder.node("Add", [total, value], label)
    return total
