"""The forms a spiking network takes as an ONNX model: one step, or all steps unrolled."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import onnx

from neurokd.export.onnx_file import PREFIX
from neurokd.export.onnx_graph import GraphBuilder, float_value
from neurokd.export.onnx_plan import Plan
from neurokd.export.onnx_stages import Operands, StepValues, build_step


@dataclass(frozen=True)
class Form:
    """What, beside the network, decides the model; it is kept in the model's metadata.

    ``form``: ``step`` or ``unrolled``. ``steps``: of one sample; may be None for ``step``.
    ``assumed_input``: the model is quantised for inputs in [0, 1] because no data said otherwise.
    ``wide_gemm``: pairs of products in an int8 Gemm can pass 16 bits (see `onnx_session`).
    """

    form: str
    precision: str
    steps: int | None
    static_input: bool
    dt_s: float
    opset: int
    assumed_input: bool = False
    wide_gemm: bool = False

    def metadata(self, plan: Plan) -> dict[str, str]:
        entries = {
            "form": self.form,
            "precision": self.precision,
            "static_input": json.dumps(self.static_input),
            "dt_s": repr(self.dt_s),
            "readout": plan.readout,
            "assumed_input": json.dumps(self.assumed_input),
            "wide_gemm": json.dumps(self.wide_gemm),
        }
        if self.steps is not None:
            entries["steps"] = str(self.steps)
        return {f"{PREFIX}{key}": value for key, value in entries.items()}


def build_model(plan: Plan, form: Form, operands: Operands) -> onnx.ModelProto:
    """The model of a network in the form asked for."""
    builder = GraphBuilder()
    if form.form == "step":
        _build_one_step(builder, plan, form, operands)
    else:
        build_unrolled(builder, plan, form, operands)
    return builder.model(f"neurokd_{form.form}", form.opset, form.metadata(plan))


def state_input(name: str) -> str:
    """The step form's input that takes the membrane of a neuron node."""
    return f"{name}.v"


def state_output(name: str) -> str:
    """The step form's output that gives it back, to be fed at the next step."""
    return f"{name}.v_next"


def _build_one_step(builder: GraphBuilder, plan: Plan, form: Form, operands: Operands) -> None:
    """Inputs x and every membrane, outputs ``output`` and every membrane, all (B, *shape)."""
    builder.inputs.append(float_value("x", ["batch", *plan.input.shape]))
    membranes = {stage.name: state_input(stage.name) for stage in plan.neurons}
    for stage in plan.neurons:
        builder.inputs.append(float_value(membranes[stage.name], ["batch", *stage.shape]))
    step = build_step(builder, plan, operands, form.dt_s, "x", membranes, "step/")
    builder.node("Identity", [step.values[plan.output.name]], "output")
    builder.outputs.append(float_value("output", ["batch", *plan.output.shape]))
    for stage in plan.neurons:
        name = state_output(stage.name)
        builder.node("Identity", [step.membranes[stage.name]], name)
        builder.outputs.append(float_value(name, ["batch", *stage.shape]))


def build_unrolled(
    builder: GraphBuilder, plan: Plan, form: Form, operands: Operands
) -> list[StepValues]:
    """Input x, (B, *shape) or (T, B, *shape), output ``scores`` (B, *out); the steps' tensors.

    Membranes start at zero. With a static input, what lies before the first neurons is computed
    once. Scores are the output's membrane at the last step, or its spikes summed over the steps.
    """
    steps = form.steps or 1
    lead: list[int | str] = ["batch"] if form.static_input else [steps, "batch"]
    builder.inputs.append(float_value("x", [*lead, *plan.input.shape]))
    shared: dict[str, str] | None = {} if form.static_input else None
    membranes: dict[str, str] = {}
    done: list[StepValues] = []
    scores = ""
    for t in range(steps):
        x = "x"
        if not form.static_input:
            index = builder.constant(f"t{t}", np.asarray(t, dtype=np.int64))
            x = builder.node("Gather", ["x", index], f"t{t}/x", axis=0)
        step = build_step(builder, plan, operands, form.dt_s, x, membranes, f"t{t}/", shared)
        membranes = step.membranes
        done.append(step)
        output = step.values[plan.output.name]
        if plan.readout == "last" or t == 0:
            scores = output
        else:
            scores = builder.node("Add", [scores, output], f"t{t}/total")
    builder.node("Identity", [scores], "scores")
    builder.outputs.append(float_value("scores", ["batch", *plan.output.shape]))
    return done
