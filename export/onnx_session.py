"""One ONNX Runtime session: how models are loaded and run here, and its errors made plain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import BackendFailedError

FATAL = 4
"""ONNX Runtime's log level: errors reach us as exceptions, nothing goes to stderr."""


def open_session(content: bytes, where: str, integer_kernels: bool = True) -> Any:
    """A session on the CPU for a model that `onnx` could already read.

    ``integer_kernels`` false computes on the dequantised numbers, as the ONNX standard writes it:
    ONNX Runtime's uint8 · int8 kernels saturate pairs of products at 16 bits on x86 processors
    that have AVX2 but no VNNI, and its cure (session.x64quantprecision) refuses shared constants.

    Raises: `BackendFailedError` when ONNX Runtime refuses the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    if not integer_kernels:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no narrower base
        raise BackendFailedError(
            "ONNX Runtime does not load this model", where=where, found=_first_line(error)
        ) from error


def run_session(session: Any, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """All outputs by name.

    Raises: `BackendFailedError` when ONNX Runtime fails on these inputs.
    """
    names = [output.name for output in session.get_outputs()]
    contiguous = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
    try:
        return dict(zip(names, session.run(names, contiguous), strict=True))
    except Exception as error:  # its exceptions share no narrower base
        raise BackendFailedError(
            "ONNX Runtime failed while it ran the model", found=_first_line(error)
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
