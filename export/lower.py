"""Lowering: a float NIR graph becomes one integer network, by a visible list of passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from neurokd.errors import ShapeMismatchError, UsageError
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering, Options, refuse
from neurokd.export.lowering_checks import check
from neurokd.export.nir_structure import graph_dt, node_shapes
from neurokd.export.pass_compose_linear import compose_linear
from neurokd.export.pass_depth import depth
from neurokd.export.pass_layout import layout
from neurokd.export.pass_populations import populations
from neurokd.export.pass_scale_search import scale_search
from neurokd.export.pass_thresholds import thresholds
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation

CHIPS = ("loihi2",)
DEFAULT_STEPS = 4
"""Input steps where neither the caller, the calibration nor the graph says: CKDSNN's T."""

PASSES: tuple[tuple[str, Callable[[Lowering], Lowering]], ...] = (
    ("populations", populations),
    ("compose_linear", compose_linear),
    ("depth", depth),
    ("scale_search", scale_search),
    ("thresholds", thresholds),
    ("layout", layout),
)


def lower(
    graph: nir.NIRGraph,
    chip: str = "loihi2",
    calibration: Any = None,
    dt: float | None = None,
    weight_bits: int = 8,
    input_bits: int = 8,
    input_scale: float | None = None,
    steps: int | None = None,
    scales: Mapping[str, float] | None = None,
) -> DeployedNetwork:
    """The integer network of a NIR graph, for one chip; what was lost is in its metadata.

    Equation: with A integers for a float of 1, weights A w / m on the 8-bit grid (m: integers that
    a message carries for a float of 1), vth = A θ, v_int = 64 A v. Every sample enters as
    round(x · input_scale), ``input_bits`` bits unsigned, at each step.

    ``calibration``: samples (B, *shape), repeated over the steps, or (T, B, *shape); they say how
    large currents become. Without them the scales rest on the worst case, which costs bits.
    ``dt``: seconds a step, else the graph's metadata, else 1e-4. ``steps``: else calibration's T,
    else the graph's metadata, else 4. ``input_scale``: else the graph's metadata, else the largest
    message, so that x of 1 is the brightest. ``scales``: A of some populations, as `chip_scales`
    gives it, where weights were trained on that grid; the others are searched.

    Raises: `UnsupportedNodeError` naming node, reason and remedy; `CapacityError`,
    `ShapeMismatchError`, `UsageError`.
    """
    options = _options(graph, chip, calibration, dt, weight_bits, input_bits, input_scale, steps)
    state = Lowering(graph=graph, options=replace(options, scales=dict(scales or {})))
    for name, transform in PASSES:
        state = transform(state)
        check(name, state)
    assert state.deployed is not None
    return state.deployed


def chip_scales(net: DeployedNetwork) -> dict[str, float]:
    """The scale A of every population of a lowered network."""
    notes: dict[str, Any] = net.metadata["lowering"]["populations"]
    return {name: float(note["scale"]) for name, note in notes.items()}


def _options(
    graph: nir.NIRGraph,
    chip: str,
    calibration: Any,
    dt: float | None,
    weight_bits: int,
    input_bits: int,
    input_scale: float | None,
    steps: int | None,
) -> Options:
    if chip not in CHIPS:
        raise UsageError(
            "this chip is not supported yet", where="lower", expected=" | ".join(CHIPS), found=chip
        )
    for name, bits in (("weight_bits", weight_bits), ("input_bits", input_bits)):
        if not 1 <= bits <= 8:
            raise UsageError(
                f"{name} is out of range", where="lower", expected="1 … 8", found=str(bits)
            )
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
    scale = input_scale or graph.metadata.get("input_scale") or float((1 << input_bits) - 1)
    entrance = InputPopulation(
        name=inputs[0],
        shape=shape,
        encoding="graded" if input_bits > 1 else "spikes",
        bits=input_bits,
        scale=float(scale),
    )
    return Options(
        chip=chip,
        dt=graph_dt(graph, dt),
        steps=chosen,
        weight_bits=weight_bits,
        input=entrance,
        calibration=None if samples is None else _calibration(samples, timed, chosen, entrance),
    )


def _calibration(samples: Floats, timed: bool, steps: int, entrance: InputPopulation) -> Floats:
    """(T, B, *shape), each value the one that the rounded message stands for."""
    leading = samples.shape[: 2 if timed else 1]
    if samples.shape[len(leading) :] != entrance.shape or not all(leading):
        raise ShapeMismatchError(
            "the calibration data does not fit the network",
            where=f"input {entrance.name!r}",
            expected=f"(samples, {', '.join(map(str, entrance.shape))})",
            found=str(samples.shape),
        )
    messages = np.rint(samples * entrance.scale)
    bad = ~np.isfinite(messages) | (messages < 0) | (messages > entrance.max_message)
    if bad.any():
        raise UsageError(
            "the calibration data has a value that the input cannot send",
            where=f"input {entrance.name!r}",
            expected=f"0 … {entrance.max_message / entrance.scale:g}",
            found=f"{float(samples[bad][0]):g}",
            remedy="scale the data into this range, or set input_scale",
        )
    seen = messages / entrance.scale
    return seen if timed else np.broadcast_to(seen, (steps, *seen.shape))
