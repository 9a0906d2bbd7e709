"""Pass: the depth of every population, and the step before which it must not remember."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurokd.export.lowering import Lowering
from neurokd.export.pass_balance import positions


def depth(state: Lowering) -> Lowering:
    """Depths and start steps.

    A population of depth d meets its first input in step d + 1. Before that it integrates its own
    bias, and spikes of ancestors that integrate theirs: where there is any such bias it starts at
    step d + 1 from zero, otherwise nothing can have happened and it starts at step 1.
    """
    network = state.floats
    found = dict(positions(network, state.hosted))
    biased: set[str] = set()
    changed = True
    while changed:
        before = len(biased)
        for population in network.neurons:
            sources = {p.source for p in network.incoming(population.name)}
            if population.drive or population.name == state.hosted:
                continue
            if np.any(population.bias) or biased & sources:
                biased.add(population.name)
        changed = len(biased) > before
    starts = {p.name: found[p.name] + 1 if p.name in biased else 1 for p in network.neurons}
    return replace(state, depths=found, start_steps=starts)
