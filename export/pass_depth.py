"""Pass: the depth of every population, and the step before which it must not remember."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurokd.export.float_network import depths
from neurokd.export.lowering import Lowering, refuse


def depth(state: Lowering) -> Lowering:
    """Depths and start steps.

    A population of depth d meets its first input in step d + 1. Before that it integrates its own
    bias, and spikes of ancestors that integrate theirs: where there is any such bias it starts at
    step d + 1 from zero, otherwise nothing can have happened and it starts at step 1.

    Raises: `UnsupportedNodeError` where paths of unequal length meet.
    """
    network = state.floats
    found = depths(network)
    biased: set[str] = set()
    starts = {}
    for population in network.neurons:
        incoming = network.incoming(population.name)
        arriving = {p.source: found[p.source] for p in incoming}
        if len(set(arriving.values())) > 1:
            raise refuse(
                population.name,
                "paths of unequal length meet here, so their spikes would come in different steps",
                "delays that balance a shortcut are not supported yet: put neurons on the shortcut",
                ", ".join(f"{name}: depth {steps}" for name, steps in arriving.items()),
            )
        if np.any(population.bias) or biased & set(arriving):
            biased.add(population.name)
        starts[population.name] = found[population.name] + 1 if population.name in biased else 1
    return replace(state, depths=found, start_steps=starts)
