"""The range of every value that int8 has to hold: known for spikes, else measured on data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.export.onnx_forms import Form, build_unrolled
from neurokd.export.onnx_graph import GraphBuilder, float_value
from neurokd.export.onnx_plan import WEIGHTED, Plan
from neurokd.export.onnx_qdq import FloatOperands
from neurokd.export.onnx_range import Range, known_ranges, source_range
from neurokd.export.onnx_session import open_session, run_session

Array = NDArray[Any]

BATCH = 64
OBSERVED_STEPS = 8


def operand_ranges(
    plan: Plan, form: Form, input_range: Range, calibration: Array | None
) -> dict[str, Range]:
    """The range of what enters each weighted stage, by the stage's name.

    Spikes, and sums and means of them, need no data. A layer fed by another
    layer with no spikes in between is measured by running the float network on ``calibration``.

    Shapes: calibration (B, *shape), or (T, B, *shape) where the input changes over time.

    Raises: `UsageError` when data is needed and missing.
    """
    known = known_ranges(plan, input_range)
    found: dict[str, Range] = {}
    unknown: list[str] = []
    for stage in plan.stages:
        if stage.op in WEIGHTED:
            each = source_range(stage, known)
            if each is None:
                unknown.append(stage.name)
            else:
                found[stage.name] = each
    if unknown and calibration is None:
        raise UsageError(
            "int8 needs data to know the range of what enters this layer",
            where=", ".join(unknown),
            expected="spikes, or calibration data",
            found="values of another layer and no data",
            remedy="give calibration data, or export with precision float",
        )
    if unknown and calibration is not None:
        found.update(_measured(plan, form, calibration, unknown))
    return found


def _measured(plan: Plan, form: Form, calibration: Array, names: list[str]) -> dict[str, Range]:
    builder = GraphBuilder()
    float_form = replace(form, form="unrolled", precision="float", steps=_steps(form, calibration))
    steps = build_unrolled(builder, plan, float_form, FloatOperands())
    builder.outputs.clear()
    tensors = {
        name: sorted({step.inputs[name] for step in steps if name in step.inputs}) for name in names
    }
    for name, values in tensors.items():
        shape = plan[name].source_shape
        builder.outputs += [float_value(value, ["batch", *shape]) for value in values]
    session = open_session(builder.model("calibration", form.opset, {}).SerializeToString(), "")
    low = dict.fromkeys(names, 0.0)
    high = dict.fromkeys(names, 0.0)
    axis = 0 if form.static_input else 1
    for start in range(0, calibration.shape[axis], BATCH):
        chunk = np.take(
            calibration, range(start, min(start + BATCH, calibration.shape[axis])), axis=axis
        )
        answers = run_session(session, {"x": chunk.astype(np.float32)})
        for name, values in tensors.items():
            low[name] = min([low[name], *(float(answers[value].min()) for value in values)])
            high[name] = max([high[name], *(float(answers[value].max()) for value in values)])
    return {name: Range(low[name], high[name]) for name in names}


def _steps(form: Form, calibration: Array) -> int:
    """Steps to observe: the sample's; a step model of static input that holds none takes a few."""
    return calibration.shape[0] if not form.static_input else form.steps or OBSERVED_STEPS


def checked_calibration(calibration: Any, plan: Plan, form: Form) -> Array:
    """The data as an array that fits the network's input.

    Raises: `ShapeMismatchError`, `UsageError` when it holds a number that is not finite.
    """
    data = np.asarray(calibration)
    axes: list[int | str] = ["B", *plan.input.shape]
    lead = 1
    if not form.static_input:
        axes.insert(0, form.steps or "T")
        lead = 2
    fits = data.ndim >= lead and data.shape[lead:] == plan.input.shape and data.size > 0
    if fits and not form.static_input and form.steps is not None:
        fits = data.shape[0] == form.steps
    if not fits:
        raise ShapeMismatchError(
            "the calibration data does not fit the network's input",
            where="calibration",
            expected=f"({', '.join(map(str, axes))})",
            found=str(data.shape),
        )
    if not np.all(np.isfinite(data)):
        raise UsageError(
            "the calibration data holds values that are not finite numbers",
            where="calibration",
            remedy="remove these samples",
        )
    return data
