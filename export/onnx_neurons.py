"""One forward-Euler step of NIR's neurons as ONNX nodes, always in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import UnsupportedNodeError
from neurokd.export.onnx_graph import GraphBuilder
from neurokd.export.onnx_plan import SPIKING, Stage

Array = NDArray[Any]


@dataclass(frozen=True)
class Coefficients:
    """One Euler step as v ← keep · v + gain · x + drive, computed in float64, kept in float32.

    LIF, LI: keep = 1 − dt/τ, gain = dt/τ · r, drive = dt/τ · v_leak. IF, I: keep = 1,
    gain = dt · r, drive = 0. Spiking neurons: spike where v > threshold, then v := reset there.
    """

    keep: Array
    gain: Array
    drive: Array
    threshold: Array | None
    reset: Array | None


def coefficients(stage: Stage, dt_s: float) -> Coefficients:
    """The coefficients of a neuron node; a value equal over space or everywhere is stored so.

    Raises: `UnsupportedNodeError` when one is not finite, or a time constant is not positive.
    """
    node = stage.node
    r = np.asarray(node.r, dtype=np.float64)
    if hasattr(node, "tau"):
        tau = np.asarray(node.tau, dtype=np.float64)
        if not np.all(tau > 0):
            raise _refused(stage, "a time constant tau that is not positive")
        rate = dt_s / tau
        keep, gain = 1.0 - rate, rate * r
        drive = rate * np.asarray(node.v_leak, dtype=np.float64)
    else:
        keep, gain, drive = np.ones(1), dt_s * r, np.zeros(1)
    k, g, d = (_checked(stage, value) for value in (keep, gain, drive))
    if stage.op not in SPIKING:
        return Coefficients(k, g, d, None, None)
    threshold = _checked(stage, node.v_threshold)
    reset = _checked(stage, np.zeros(1) if node.v_reset is None else node.v_reset)
    return Coefficients(k, g, d, threshold, reset)


def neuron_step(
    builder: GraphBuilder,
    stage: Stage,
    dt_s: float,
    current: str,
    membrane: str | None,
    prefix: str,
) -> tuple[str, str]:
    """Append one step of a neuron; ``membrane`` None is a membrane of zero (the first step).

    Shapes: current and membrane (B, *shape). Returns the names of the node's value (spikes as 0
    and 1, or the membrane) and of the new membrane, both (B, *shape) float32.
    """
    c = coefficients(stage, dt_s)
    name = f"{prefix}{stage.name}"

    def constant(label: str, value: Array) -> str:
        return builder.constant(f"{stage.name}.{label}", value)

    v = current
    if np.any(c.gain != 1):
        v = builder.node("Mul", [v, constant("gain", c.gain)], f"{name}.scaled")
    if np.any(c.drive != 0):
        v = builder.node("Add", [v, constant("drive", c.drive)], f"{name}.driven")
    if membrane is not None:
        kept = membrane
        if np.any(c.keep != 1):
            kept = builder.node("Mul", [kept, constant("keep", c.keep)], f"{name}.kept")
        v = builder.node("Add", [kept, v], f"{name}.v")
    if c.threshold is None or c.reset is None:
        return v, v
    fires = builder.node("Greater", [v, constant("threshold", c.threshold)], f"{name}.fires")
    spikes = builder.node("Cast", [fires], f"{name}.spikes", to=1)
    after = builder.node("Where", [fires, constant("reset", c.reset), v], f"{name}.reset")
    return spikes, after


def _checked(stage: Stage, value: Array) -> Array:
    if not np.all(np.isfinite(value)):
        raise _refused(stage, "a neuron parameter that is not a finite number")
    return _narrow(np.asarray(value, dtype=np.float32), stage.shape)


def _narrow(value: Array, shape: tuple[int, ...]) -> Array:
    """The smallest array that broadcasts to ``shape``: a scalar, (C, 1, …), or the whole."""
    if np.all(value == value.flat[0]):
        return value.reshape(-1)[:1].reshape(())
    per_channel = value.reshape(shape[0], -1)
    if np.all(per_channel == per_channel[:, :1]):
        return per_channel[:, 0].reshape(shape[0], *(1 for _ in shape[1:]))
    return value.reshape(shape)


def _refused(stage: Stage, what: str) -> UnsupportedNodeError:
    return UnsupportedNodeError(
        what,
        where=f"node {stage.name!r}",
        remedy="correct the node's parameters in the NIR graph",
    )
