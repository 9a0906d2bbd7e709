"""Lowering: a float NIR graph becomes one integer network, by a visible list of passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nir

from neurokd.export.flatten_nir import flatten_nir
from neurokd.export.lowering import Lowering, ScaleMethod
from neurokd.export.lowering_checks import check
from neurokd.export.lowering_options import lowering_options
from neurokd.export.pass_balance import balance
from neurokd.export.pass_calibration import calibration as limit_calibration
from neurokd.export.pass_compare import compare
from neurokd.export.pass_compose_linear import compose_linear
from neurokd.export.pass_depth import depth
from neurokd.export.pass_drives import drives
from neurokd.export.pass_host_layer import host_layer, hosted_layer
from neurokd.export.pass_layout import layout
from neurokd.export.pass_populations import populations
from neurokd.export.pass_scale_search import scale_search
from neurokd.export.pass_split_decays import split_decays
from neurokd.export.pass_thresholds import thresholds
from neurokd.hardware.network import DeployedNetwork

PASSES: tuple[tuple[str, Callable[[Lowering], Lowering]], ...] = (
    ("populations", populations),
    ("compose_linear", compose_linear),
    ("split_decays", split_decays),
    ("calibration", limit_calibration),
    ("hosted_layer", hosted_layer),
    ("drives", drives),
    ("balance", balance),
    ("depth", depth),
    ("scale_search", scale_search),
    ("thresholds", thresholds),
    ("host_layer", host_layer),
    ("layout", layout),
    ("compare", compare),
)


def lower(
    graph: nir.NIRGraph,
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
) -> DeployedNetwork:
    """The integer network of a NIR graph, for one chip; what was lost is in its metadata.

    Equation: with A integers for a float of 1, weights A w / m on the 8-bit grid (m: integers that
    a message carries for a float of 1), vth = A θ, v_int = 64 A v. Every sample enters as
    round(x · input_scale), ``input_bits`` bits, at each step; with sign if the calibration has one.

    Data of 0 and 1 (the calibration's, or ``input_bits`` of 1) enter as spikes. Other data enter
    Loihi 2 as graded spikes of 8 bits; for Loihi 1 the host computes the first layer, and its
    currents enter as biases (`HostLayer`).

    ``calibration``: samples (B, *shape), repeated over the steps, or (T, B, *shape); they say how
    large currents become. Without them the scales rest on the worst case, which costs bits.
    ``dt``: seconds a step, else the graph's metadata, else 1e-4. ``steps``: else calibration's T,
    else the graph's metadata, else 4. ``input_scale``: else the graph's metadata, else the largest
    message, so that x of 1 is the brightest. ``weight_bits``: of all projections, or of those that
    a mapping names, the others having 8. ``scales``: A of some populations, as `chip_scales` gives
    it, where weights were trained on that grid, with the ``exponents`` of their projections; the
    others are searched, by ``scale_method``.

    Raises: `UnsupportedNodeError` naming node, reason and remedy; `CapacityError`,
    `ShapeMismatchError`, `UsageError`.
    """
    deployed = lowering(
        graph,
        chip=chip,
        calibration=calibration,
        dt=dt,
        weight_bits=weight_bits,
        input_bits=input_bits,
        input_scale=input_scale,
        steps=steps,
        scales=scales,
        exponents=exponents,
        scale_method=scale_method,
    ).deployed
    assert deployed is not None
    return deployed


def lowering(graph: nir.NIRGraph, **arguments: Any) -> Lowering:
    """What `lower` does, with all that led to its network: the floats, scales and integers.

    ``arguments``: those of `lower`, by name.
    """
    flat = flatten_nir(graph)
    options = lowering_options(flat, **arguments)
    state = Lowering(graph=flat, options=options)
    for name, transform in PASSES:
        state = transform(state)
        check(name, state)
    return state


def chip_scales(net: DeployedNetwork) -> dict[str, float]:
    """The scale A of every population of a lowered network."""
    notes: dict[str, Any] = net.metadata["lowering"]["populations"]
    return {name: float(note["scale"]) for name, note in notes.items() if "scale" in note}
