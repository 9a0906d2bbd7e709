"""What lowering is asked for, with every default resolved and every value checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Options, ScaleMethod, refuse
from neurokd.export.nir_structure import graph_dt, node_shapes
from neurokd.hardware.population import InputPopulation

CHIPS = ("loihi1", "loihi2")
DEFAULT_STEPS = 4
"""Input steps where neither the caller, the calibration nor the graph says: CKDSNN's T."""
GRADED_BITS = 8
HOST_BITS = 16
"""Bits of a sample where the host computes with it."""


def lowering_options(
    graph: nir.NIRGraph,
    *,
    chip: str = "loihi2",
    calibration: Any = None,
    dt: float | None = None,
    weight_bits: int | Mapping[str, int] = 8,
    input_bits: int | None = None,
    input_scale: float | None = None,
    steps: int | None = None,
    scales: Mapping[str, float] | None = None,
    exponents: Mapping[str, int] | None = None,
    scale_method: ScaleMethod = "mse",
) -> Options:
    """The `Options` of a call of `lower`, which says what each argument means.

    Raises: `UsageError`, `ShapeMismatchError`; `UnsupportedNodeError` without exactly one input.
    """
    layer_bits = dict(weight_bits) if isinstance(weight_bits, Mapping) else {}
    common_bits = 8 if isinstance(weight_bits, Mapping) else weight_bits
    _check_choice("chip", chip, CHIPS)
    _check_choice("scale_method", scale_method, ("mse", "percentile"))
    for bits in (common_bits, *layer_bits.values()):
        _check_bits("weight_bits", bits, 8)
    inputs = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    if len(inputs) != 1:
        raise refuse(
            "input", "a network has exactly one input", "merge them", ", ".join(inputs) or "none"
        )
    shape = node_shapes(graph)[inputs[0]].output
    samples = None if calibration is None else np.asarray(calibration, dtype=np.float64)
    timed = samples is not None and samples.ndim == len(shape) + 2
    chosen = steps or (len(samples) if timed and samples is not None else None)
    chosen = chosen or int(graph.metadata.get("steps", DEFAULT_STEPS))
    given_scale = input_scale or graph.metadata.get("input_scale")
    binary = input_bits == 1 or (input_bits is None and not given_scale and _is_binary(samples))
    by_current = chip == "loihi1" and not binary
    bits = 1 if binary else input_bits or (HOST_BITS if by_current else GRADED_BITS)
    _check_bits("input_bits", bits, HOST_BITS if by_current else 8)
    # signals (C, N) enter as images (C, 1, N), so that convolutions over them are the chip's own
    laid_out = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
    entrance = InputPopulation(
        name=inputs[0],
        shape=laid_out,
        encoding="spikes" if binary else "graded",
        bits=bits,
        scale=float(given_scale or (1 << bits) - 1),
        signed=not binary and samples is not None and bool(np.any(samples < 0)),
    )
    seen = None
    if samples is not None:
        seen = _calibration(samples, shape, timed, chosen, entrance)
    return Options(
        chip=chip,
        dt=graph_dt(graph, dt),
        steps=chosen,
        weight_bits=common_bits,
        layer_bits=layer_bits,
        input=entrance,
        calibration=seen,
        scales=dict(scales or {}),
        exponents=dict(exponents or {}),
        scale_method=scale_method,
        by_current=by_current,
    )


def _is_binary(samples: Floats | None) -> bool:
    """Whether all values are 0 or 1, and some are 1."""
    return samples is not None and bool(np.any(samples == 1) and np.isin(samples, (0, 1)).all())


def _calibration(
    samples: Floats, shape: tuple[int, ...], timed: bool, steps: int, entrance: InputPopulation
) -> Floats:
    """(T, B, *shape), each value the one that the rounded message stands for."""
    leading = samples.shape[: 2 if timed else 1]
    if samples.shape[len(leading) :] != shape or not all(leading):
        raise ShapeMismatchError(
            "the calibration data does not fit the network",
            where=f"input {entrance.name!r}",
            expected=f"(samples, {', '.join(map(str, shape))})",
            found=str(samples.shape),
        )
    messages = np.rint(samples.reshape(*leading, *entrance.shape) * entrance.scale)
    bad = ~np.isfinite(messages) | (messages < entrance.min_value)
    bad |= messages > entrance.max_message
    if bad.any():
        low, high = entrance.min_value / entrance.scale, entrance.max_message / entrance.scale
        raise UsageError(
            "the calibration data has a value that the input cannot send",
            where=f"input {entrance.name!r}",
            expected=f"{low:g} … {high:g}",
            found=f"{float(samples.reshape(bad.shape)[bad][0]):g}",
            remedy="scale the data into this range, or set input_scale",
        )
    seen = messages / entrance.scale
    return seen if timed else np.broadcast_to(seen, (steps, *seen.shape))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(
            f"unknown {name}", where="lower", expected=" | ".join(choices), found=value
        )


def _check_bits(name: str, bits: int, most: int) -> None:
    if not 1 <= bits <= most:
        raise UsageError(
            f"{name} is out of range", where="lower", expected=f"1 … {most}", found=str(bits)
        )
