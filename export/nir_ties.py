"""Membranes that can meet their threshold exactly, where readers disagree between > and ≥."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from neurokd.export.linear_maps import Floats
from neurokd.export.nir_structure import predecessors

Units = dict[str, float]
_SMALLEST = 2.0**-16
"""Half a unit, in thresholds: far above the rounding of float32 (2⁻²⁴)."""


def tie_margins(
    graph: nir.NIRGraph,
    snntorch: Mapping[str, Mapping[str, Floats]],
    dt: float,
    steps: int | None = None,
    input_unit: float | None = None,
) -> dict[str, Floats]:
    """What may be added to the threshold of each node so that > and ≥ mean the same; else nothing.

    The rule: if all that v can be is a whole multiple of a unit u, then v > θ, v ≥ θ + u/2 and
    v > θ + u/2 are the same for every θ that is a multiple of u. Spikes are multiples of 1, the
    input of ``input_unit`` if it is given; the unit of a layer is the smallest power of two that
    its weights, bias and inputs are multiples of. An IF and a Threshold keep the unit of what
    arrives (and of v_reset); a LIF with β = k/2ᵐ divides it by 2ᵐ each step, so that it needs
    ``steps``, beyond which nothing is claimed. CubaLIF, and a membrane with a v_leak, are left
    alone, and so is whatever would move by less than 2⁻¹⁶ of its threshold.

    ``snntorch``: parameters of the spiking neurons in that profile, where a step adds the current
    itself. In graphs with loops only neurons feed units onwards, so that the order is any.
    """
    units = _node_units(graph, input_unit)
    sources = predecessors(graph)
    margins: dict[str, Floats] = {}
    for name, node in graph.nodes.items():
        arriving = _common(*(units.get(source, 0.0) for source in sources[name]))
        if isinstance(node, nir.Threshold):
            threshold = np.asarray(node.threshold, dtype=np.float64)
            unit = arriving
        elif isinstance(node, (nir.IF, nir.LIF)):
            own = snntorch[name]
            threshold = own["v_threshold"]
            unit = _membrane_unit(node, own, arriving, dt, steps)
        else:
            continue
        if not unit or np.any(threshold % unit):
            continue
        if unit / 2 >= _SMALLEST * float(np.max(np.abs(threshold), initial=unit)):
            margins[name] = np.full(threshold.shape, unit / 2)
    return margins


def _membrane_unit(
    node: Any, own: Mapping[str, Floats], arriving: float, dt: float, steps: int | None
) -> float:
    if not arriving or np.any(own.get("v_leak", np.zeros(()))):
        return 0.0
    unit = _common(arriving, _unit(own["v_reset"]))
    if isinstance(node, nir.IF):
        return unit
    beta = 1 - dt / np.asarray(node.tau, dtype=np.float64)
    if steps is None:
        return 0.0
    for bits in range(9):
        if np.all(np.abs(beta * 2**bits - np.rint(beta * 2**bits)) < 1e-6):
            return float(unit * 2.0 ** (-bits * steps))
    return 0.0


def _node_units(graph: nir.NIRGraph, input_unit: float | None) -> Units:
    """A power of two that all that leaves a node is a multiple of; 0 where none is known."""
    sources = predecessors(graph)
    units: Units = {}
    for name, node in graph.nodes.items():
        if isinstance(node, (nir.IF, nir.LIF, nir.CubaLIF, nir.Threshold)):
            units[name] = 1.0
        elif isinstance(node, nir.Input):
            units[name] = _unit(input_unit) if input_unit else 0.0
        elif isinstance(node, (nir.LI, nir.I, nir.CubaLI)):
            units[name] = 0.0
    pending = [name for name in graph.nodes if name not in units]
    while pending:
        ready = [name for name in pending if all(source in units for source in sources[name])]
        if not ready:  # a loop without a neuron
            return {**units, **dict.fromkeys(pending, 0.0)}
        for name in ready:
            arriving = _common(*(units[source] for source in sources[name]))
            units[name] = _stateless_unit(graph.nodes[name], arriving)
        pending = [name for name in pending if name not in units]
    return units


def _stateless_unit(node: Any, arriving: float) -> float:
    if isinstance(node, (nir.Flatten, nir.SumPool2d, nir.Delay, nir.Output)):
        return arriving
    if isinstance(node, nir.Scale):
        return arriving * _unit(node.scale)
    if not isinstance(node, (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)) or not arriving:
        return 0.0
    product = arriving * _unit(node.weight)
    bias = getattr(node, "bias", None)
    return product if bias is None or not np.any(bias) else _common(product, _unit(bias))


def _unit(values: Any) -> float:
    """The largest power of two, at most 1, of which all values are multiples; 0 for none in reach.

    Powers below 2⁻¹² are out of reach: such a grid is rounding, not arithmetic.
    """
    array = np.asarray(values, dtype=np.float64)
    for bits in range(13):
        if not np.any(np.rint(array * 2**bits) - array * 2**bits):
            return 2.0**-bits
    return 0.0


def _common(*units: float) -> float:
    """Multiples of each of these powers of two are multiples of the smallest."""
    return min(units, default=0.0)
