"""The two encodings of spiking neurons in NIR: for readers that know r, for those that do not."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from neurokd.errors import UnsupportedNodeError, UsageError
from neurokd.export.flatten_nir import flatten_nir
from neurokd.export.linear_maps import Floats
from neurokd.export.nir_structure import graph_dt
from neurokd.export.nir_ties import tie_margins

PROFILES = ("snntorch", "unit-r")
_SPIKING = (nir.IF, nir.LIF, nir.CubaLIF)


def with_profile(
    graph: nir.NIRGraph,
    profile: str,
    dt: float | None = None,
    *,
    steps: int | None = None,
    input_unit: float | None = None,
) -> nir.NIRGraph:
    """The same network with each spiking neuron's membrane in the units of a profile.

    Equation: with c > 0, v ↦ c v leaves every spike as it is if r, v_threshold, v_leak and v_reset
    become c times what they were (of a CubaLIF, w_in · r). ``snntorch``: a step adds the current
    itself to v, r = τ/dt (IF: 1/dt) and w_in = τ_syn/dt. ``unit-r``: r = 1 and w_in = 1, so that
    v_threshold is (1 − β) times that of ``snntorch``, a CubaLIF's (1 − α)(1 − β) times, an IF's dt
    times. The parameters keep their dtype: spikes stay the same to its rounding, and exactly where
    c is a power of two. LI, CubaLI and I keep their own units: what leaves them is v.

    Both are plain NIR; metadata (``dt``, ``nir_profile``) only repeats what the parameters say.
    Thresholds that arriving values can meet exactly are moved by half a unit where `tie_margins`
    proves that nothing changes. ``steps`` and ``input_unit`` are for it.

    Units: dt in seconds; without it the graph's metadata, else 1e-4. Nested graphs are flattened.

    Raises: `UsageError` for another profile, `UnsupportedNodeError` for a neuron whose r or w_in is
    not positive.
    """
    if profile not in PROFILES:
        raise UsageError("unknown NIR profile", expected=" | ".join(PROFILES), found=repr(profile))
    flat = flatten_nir(graph)
    step = graph_dt(graph, dt)
    if steps is None:
        steps = flat.metadata.get("steps")
    snntorch = {
        name: _encoded(name, node, "snntorch", step)
        for name, node in flat.nodes.items()
        if isinstance(node, _SPIKING)
    }
    margins = tie_margins(flat, snntorch, step, steps, input_unit)
    nodes = {}
    for name, node in flat.nodes.items():
        nodes[name] = copy.deepcopy(node)
        if isinstance(node, nir.Threshold) and name in margins:
            nodes[name].threshold = _like(node.threshold, node.threshold + margins[name])
        elif name in snntorch:
            shifted = copy.deepcopy(snntorch[name])
            if name in margins:
                shifted["v_threshold"] = shifted["v_threshold"] + margins[name]
            _store(nodes[name], _scaled(name, node, shifted, profile, step))
    metadata = {**copy.deepcopy(flat.metadata), "dt": step, "nir_profile": profile}
    return nir.NIRGraph(nodes=nodes, edges=list(flat.edges), metadata=metadata, type_check=False)


def _encoded(name: str, node: Any, profile: str, dt: float) -> dict[str, Floats]:
    """The parameters of a spiking neuron in a profile, in float64."""
    fields = ["r", "v_threshold", "v_reset"]
    fields += [] if isinstance(node, nir.IF) else ["v_leak"]
    fields += ["w_in"] if isinstance(node, nir.CubaLIF) else []
    own = {field: np.asarray(getattr(node, field), dtype=np.float64) for field in fields}
    return _scaled(name, node, own, profile, dt)


def _scaled(
    name: str, node: Any, own: Mapping[str, Floats], profile: str, dt: float
) -> dict[str, Floats]:
    target = _target(node, profile, dt)
    drive = own["r"] * own.get("w_in", 1.0)
    if not np.all(drive > 0):
        raise UnsupportedNodeError(
            "this neuron cannot be written in other units",
            where=f"node {name!r}",
            expected="r · w_in > 0",
            found=f"{float(np.min(drive)):g}",
        )
    c = target["r"] * target.get("w_in", 1.0) / drive
    # a graph that already is in this profile stays bit for bit what it is
    dtype = np.asarray(node.r).dtype
    c = np.where(np.abs(c - 1) < 8 * np.finfo(dtype if dtype.kind == "f" else float).eps, 1.0, c)
    moved = {key: c * own[key] for key in ("v_threshold", "v_reset", "v_leak") if key in own}
    return {**moved, **{key: np.broadcast_to(value, c.shape) for key, value in target.items()}}


def _target(node: Any, profile: str, dt: float) -> dict[str, Floats]:
    """r, and w_in of a CubaLIF, in a profile."""
    one = np.ones(np.shape(node.r))
    if isinstance(node, nir.IF):
        return {"r": one / dt if profile == "snntorch" else one}
    if isinstance(node, nir.LIF):
        return {"r": np.asarray(node.tau, dtype=np.float64) / dt if profile == "snntorch" else one}
    if profile == "unit-r":
        return {"r": one, "w_in": one}
    return {
        "r": np.asarray(node.tau_mem, dtype=np.float64) / dt,
        "w_in": np.asarray(node.tau_syn, dtype=np.float64) / dt,
    }


def _store(node: Any, values: Mapping[str, Floats]) -> None:
    for field, value in values.items():
        setattr(node, field, _like(getattr(node, field), value))


def _like(original: Any, value: Floats) -> Any:
    """In the dtype it had, unless that one holds whole numbers only."""
    dtype = np.asarray(original).dtype
    return np.ascontiguousarray(value, dtype=dtype if dtype.kind == "f" else np.float64)
