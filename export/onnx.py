"""From a network to an ONNX model for edge devices, checked before it is written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from neurokd.atomic import write_bytes
from neurokd.errors import UsageError
from neurokd.export.nir_structure import graph_dt

if TYPE_CHECKING:
    import nir
    from torch import nn

    from neurokd.export.onnx_range import Range

FORMS = ("step", "unrolled")
PRECISIONS = ("float", "int8")
OPSETS = (18, 19, 20, 21)
"""Those that IR version 10 and ONNX Runtime 1.20 take; the nodes used mean the same in each."""


@dataclass(frozen=True)
class OnnxReport:
    """What `to_onnx` wrote and what proved it.

    ``quantised``: the Conv and Gemm nodes that only int8 weights and uint8 values reach.
    ``activations``: scale, zero point and whether uint8 is exact, by layer. ``max_error``: ONNX
    Runtime against the float64 reference with the weights that the file holds;
    ``quantisation_error``: against the float network; ``score_scale``: the largest score there.
    ``float_bytes``: the same model in float32. A dense network has no ``steps`` and no ``dt_s``.
    """

    path: str
    form: str
    precision: str
    opset: int
    ir_version: int
    steps: int | None
    static_input: bool
    dt_s: float | None
    readout: str
    nodes: int
    operators: dict[str, int]
    bytes: int
    float_bytes: int
    quantised: tuple[str, ...]
    unquantised: tuple[str, ...]
    activations: dict[str, dict[str, float | int | bool]]
    max_error: float
    quantisation_error: float
    score_scale: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `json` takes them."""
        return asdict(self)


def to_onnx(
    source: nir.NIRGraph | nn.Module,
    path: str | Path,
    form: str | None = None,
    precision: str = "int8",
    steps: int | None = None,
    *,
    static_input: bool = True,
    calibration: NDArray[Any] | None = None,
    opset: int = 20,
    dt: float | None = None,
) -> OnnxReport:
    """Write a NIR graph as an ONNX model in float32, or with Conv and Gemm in int8 (QDQ).

    Neurons are stepped by forward Euler: v ← v + dt/τ (v_leak − v + r x), a spike where v >
    v_threshold, then v ← v_reset. Form ``unrolled`` (the default): x → scores, all steps in one
    call, what lies before the first neurons computed once if the input is static. Form ``step``: x
    and every membrane → output and every new membrane. Scores are the output membrane at the last
    step, or the output's spikes summed over the steps. A dense torch network (SDMLP, MLP) has no
    form, steps or dt: `neurokd.export.onnx_topk.topk_to_onnx` writes it.

    int8: weights symmetric per output channel, biases int32 at scale input · weight, activations
    uint8: spikes and small sums or means of them without any rounding, the analog input over its
    range ([0, 1] without ``calibration``). Membranes and thresholds stay float32. On a PC, ONNX
    Runtime computes each Gemm in integers (QGemm), but each Conv in float32 on the dequantised
    int8 weights, since the membrane behind it is not quantised: the numbers are the same, the file
    is smaller, a PC no faster. A Gemm fed by more than 129 uint8 levels (pixels) saturates on x86
    with AVX2 and no VNNI, an ONNX Runtime limit: `run_onnx` avoids it, a session of your own needs
    session.disable_quant_qdq=1.

    Shapes: x (B, *shape), or with ``static_input=False`` (T, B, *shape) for ``unrolled``;
    calibration alike; scores (B, *out). Units: dt in seconds, else the graph's, else 1e-4.

    Raises: `UsageError`, `UnsupportedNodeError`, `ShapeMismatchError`, `CapacityError`,
    `BackendFailedError` (the proof fails: nothing is written).
    """
    import nir

    if not isinstance(source, nir.NIRGraph):
        static = None if static_input else False
        spiking = {"form": form, "steps": steps, "dt": dt, "static_input": static}
        return _dense(source, path, precision, calibration, opset, spiking)
    from neurokd.export.onnx_calibration import checked_calibration, operand_ranges
    from neurokd.export.onnx_check import compare, quantisation, require_quantised
    from neurokd.export.onnx_file import parse_onnx
    from neurokd.export.onnx_forms import Form, build_model
    from neurokd.export.onnx_plan import plan_graph
    from neurokd.export.onnx_qdq import FloatOperands, Int8Operands, wide_gemm
    from neurokd.export.onnx_range import ASSUMED_INPUT, observed_range
    from neurokd.export.onnx_runtime import run_file

    form = form or FORMS[-1]
    _check_choices(form, precision, steps, opset)
    plan = plan_graph(source)
    int8 = precision == "int8"
    settings = Form(
        form=form,
        precision=precision,
        steps=steps,
        static_input=static_input,
        dt_s=graph_dt(source, dt),
        opset=opset,
        assumed_input=int8 and calibration is None,
    )
    data = None if calibration is None else checked_calibration(calibration, plan, settings)
    input_range = ASSUMED_INPUT if data is None else observed_range(data)
    as_float = replace(settings, precision="float", assumed_input=False)
    float_model = build_model(plan, as_float, FloatOperands())
    ranges: dict[str, Range] = {}
    model = float_model
    if int8:
        ranges = operand_ranges(plan, settings, input_range, data)
        settings = replace(settings, wide_gemm=wide_gemm(plan.stages, ranges))
        model = build_model(plan, settings, Int8Operands(ranges))
    content = model.SerializeToString()
    file = parse_onnx(content, str(path))
    if int8:
        require_quantised(file)
    compared = compare(
        source, plan, settings, input_range, ranges, lambda x, count: run_file(file, x, count)
    )
    found = quantisation(file.model)
    write_bytes(Path(path), content)
    return OnnxReport(
        path=str(path),
        form=form,
        precision=precision,
        opset=opset,
        ir_version=int(file.model.ir_version),
        steps=steps,
        static_input=static_input,
        dt_s=settings.dt_s,
        readout=plan.readout,
        nodes=len(file.model.graph.node),
        operators=file.operators,
        bytes=len(content),
        float_bytes=float_model.ByteSize(),
        quantised=found.quantised,
        unquantised=found.unquantised,
        activations={name: activation_entry(each) for name, each in ranges.items()},
        max_error=compared.max_error,
        quantisation_error=compared.quantisation_error,
        score_scale=compared.scale,
    )


def activation_entry(values: Range) -> dict[str, float | int | bool]:
    """An entry of `OnnxReport.activations`."""
    scale, zero_point = values.uint8()
    return {"scale": scale, "zero_point": zero_point, "exact": values.exact}


def _dense(
    network: nn.Module,
    path: str | Path,
    precision: str,
    calibration: NDArray[Any] | None,
    opset: int,
    spiking: dict[str, Any],
) -> OnnxReport:
    from neurokd.export.onnx_topk import topk_to_onnx

    given = {name: value for name, value in spiking.items() if value is not None}
    if given:
        raise UsageError(
            f"a dense network has no {' and no '.join(given)}",
            where=type(network).__name__,
            found=", ".join(f"{name} {value}" for name, value in given.items()),
            remedy="leave it out",
        )
    return topk_to_onnx(network, path, precision, calibration=calibration, opset=opset)


def require_choice(what: str, value: str | int) -> None:
    """Raise `UsageError` for a form, a precision or an opset that is not offered."""
    choices: dict[str, tuple[str | int, ...]] = {
        "form": FORMS,
        "precision": PRECISIONS,
        "opset": OPSETS,
    }
    offered = choices[what]
    if value not in offered:
        raise UsageError(
            f"this {what} is not offered",
            where=what,
            expected=", ".join(map(str, offered)),
            found=str(value),
            remedy=f"choose {what} {offered[0] if what != 'opset' else 20}",
        )


def _check_choices(form: str, precision: str, steps: int | None, opset: int) -> None:
    require_choice("form", form)
    require_choice("precision", precision)
    require_choice("opset", opset)
    if steps is None and form == "unrolled":
        raise UsageError(
            "an unrolled model needs its number of steps",
            where="steps",
            remedy="pass the number of steps that the network was trained with",
        )
    if steps is not None and steps < 1:
        raise UsageError("a sample needs a step", where="steps", expected="≥ 1", found=str(steps))
