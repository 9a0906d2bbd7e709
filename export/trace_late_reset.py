"""A membrane that resets in the step after its spike: RSynaptic of snnTorch, in nodes of NIR."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurokd.export.trace_layer import Described
from neurokd.export.trace_table import Table

SILENCE = 2.0**100
"""What makes a membrane fire, whatever it holds."""


def insert_late_reset(table: Table, base: str, path: str, membrane: str, spikes: str) -> str:
    """Joins a membrane and its spikes so that the reset comes a step late; the node of s(t − 1).

    Equation: v ← (β v + i) (1 − s(t − 1)); s = 1[v > θ]. As NIR: a LIF, which is at zero after each
    spike anyway, is made to fire once more in the step after one, by 2¹⁰⁰ s(t − 1); that second
    spike is taken away behind it: s = 1[lif − s(t − 1) > ½]. s(t − 1) comes out of a Delay of one
    step, so that no edge of these loops looks back by itself.

    Exact where |v| < 10³⁰ and θ < 10²⁹. Shapes: all nodes have that of the neurons.
    """
    before = table.insert(table.unique(f"{base}_before"), path, Described("delay"), (spikes,))
    for suffix, factor, reader in (("silence", SILENCE, membrane), ("once", -1.0, spikes)):
        described = Described("multiple", {"factor": np.array(factor)})
        name = table.insert(table.unique(f"{base}_{suffix}"), path, described, (before,))
        layer = table.layers[reader]
        table.layers[reader] = replace(layer, sources=(*layer.sources, name))
    return before
