"""Running an exported model in ONNX Runtime, whatever its form, and describing one unrun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.export.onnx_check import quantisation
from neurokd.export.onnx_file import OnnxFile, read_onnx
from neurokd.export.onnx_forms import state_input, state_output
from neurokd.export.onnx_session import open_session, run_session

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

Progress = Callable[[int, int], None]
"""(samples done, samples in all), called after each batch."""


def run_onnx(
    path: str | Path,
    x: Array,
    steps: int | None = None,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Array:
    """Scores of samples from a model that `to_onnx` wrote, of any form.

    A step model is called once a step with its membranes handed back, from membranes of zero;
    its scores are the output membrane at the last step, or the output's spikes summed. A dense
    model has no steps.

    Shapes: x (B, *shape) for a model of static input, else (T, B, *shape) → (B, K) float32.
    ``steps`` is needed only by a step model of static input that does not hold its number.

    Raises: `FileFormatError`, `ShapeMismatchError`, `UsageError` (steps missing or not the
    model's; an input outside [0, 1] for a model quantised for that range), `BackendFailedError`.
    """
    return run_file(read_onnx(path), np.asarray(x), steps, batch_size, progress)


def run_file(
    file: OnnxFile,
    x: Array,
    steps: int | None = None,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Array:
    """`run_onnx` for a model that is already read."""
    static = bool(file.value("static_input"))
    _check_input(file, x, static)
    count = _steps(file, x, static, steps)
    if batch_size < 1:
        raise UsageError("a batch needs a sample", where="batch_size", found=str(batch_size))
    call = _step_scores if file.value("form") == "step" else _unrolled_scores
    session = open_session(file.content, file.where, integer_kernels=not file.value("wide_gemm"))
    axis = 0 if static else 1
    total = x.shape[axis]
    scores: list[Array] = []
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        chunk = x[start:stop] if static else x[:, start:stop]
        scores.append(call(file, session, chunk.astype(np.float32), count, static))
        if progress is not None:
            progress(stop, total)
    return np.concatenate(scores)


def describe_onnx(path: str | Path) -> dict[str, Any]:
    """What an ONNX file holds, without running it: any valid model, neurokd's or not.

    Raises: `FileFormatError` when it is missing, truncated, foreign or not valid ONNX.
    """
    file = read_onnx(path)
    found = quantisation(file.model)
    graph = file.model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    return {
        "path": str(path),
        "bytes": len(file.content),
        "producer": file.model.producer_name,
        "opset": file.opset,
        "ir_version": int(file.model.ir_version),
        "inputs": {v.name: _dimensions(v) for v in graph.input if v.name not in initializers},
        "outputs": {v.name: _dimensions(v) for v in graph.output},
        "nodes": len(graph.node),
        "operators": file.operators,
        "quantised": len(found.quantised),
        "unquantised": len(found.unquantised),
        "is_quantised": bool(found.quantised) and not found.unquantised,
        "neurokd": {key: file.value(key) for key in sorted(file.metadata)},
    }


def _unrolled_scores(file: OnnxFile, session: Any, x: Array, steps: int, static: bool) -> Array:
    return run_session(session, {"x": x})["scores"]


def _step_scores(file: OnnxFile, session: Any, x: Array, steps: int, static: bool) -> Array:
    batch = x.shape[0] if static else x.shape[1]
    names = [v.name[: -len(state_input(""))] for v in file.model.graph.input if v.name != "x"]
    shapes = {v.name: _dimensions(v)[1:] for v in file.model.graph.input}
    membranes = {
        name: np.zeros((batch, *shapes[state_input(name)]), dtype=np.float32) for name in names
    }
    summed = file.value("readout") == "sum"
    scores: Array | None = None
    for t in range(steps):
        feeds = {"x": x if static else x[t]}
        feeds |= {state_input(name): membrane for name, membrane in membranes.items()}
        answer = run_session(session, feeds)
        membranes = {name: answer[state_output(name)] for name in names}
        scores = answer["output"] if scores is None or not summed else scores + answer["output"]
    assert scores is not None  # steps ≥ 1
    return scores


def _check_input(file: OnnxFile, x: Array, static: bool) -> None:
    shape = tuple(_dimensions(file.model.graph.input[0])[1:])
    if file.value("form") == "unrolled" and not static:
        shape = shape[1:]
    lead = 1 if static else 2
    if x.ndim < lead or x.shape[lead:] != shape or x.size == 0:
        axes = ["B", *map(str, shape)] if static else ["T", "B", *map(str, shape)]
        raise ShapeMismatchError(
            "the data does not fit the model's input",
            where=file.where,
            expected=f"({', '.join(axes)})",
            found=str(x.shape),
        )
    if file.value("assumed_input") and (x.min() < 0.0 or x.max() > 1.0):
        raise UsageError(
            "the model is quantised for inputs in [0, 1]",
            where=file.where,
            found=f"[{x.min():g}, {x.max():g}]",
            remedy="scale the data, or export again with calibration data",
        )


def _steps(file: OnnxFile, x: Array, static: bool, asked: int | None) -> int:
    if file.value("form") == "dense":
        if asked is not None:
            raise UsageError(
                "this model has no steps",
                where=file.where,
                found=f"steps {asked}",
                remedy="leave steps out",
            )
        return 1
    stored = int(file.value("steps")) if "steps" in file.metadata else None
    given = asked if static else x.shape[0]
    fixed = file.value("form") == "unrolled"
    for other in (asked, None if static else x.shape[0]):
        wanted = stored if fixed else given
        if other is not None and other != wanted:
            raise UsageError(
                "the number of steps does not fit",
                where=file.where,
                expected=str(wanted),
                found=str(other),
                remedy="export the model for this number of steps",
            )
    count = stored if fixed or given is None else given
    if count is None or count < 1:
        raise UsageError(
            "this model needs a number of steps",
            where=file.where,
            expected="steps ≥ 1",
            found=str(count),
            remedy="pass steps",
        )
    return count


def _dimensions(value: onnx.ValueInfoProto) -> list[Any]:
    return [d.dim_param or int(d.dim_value) for d in value.type.tensor_type.shape.dim]
