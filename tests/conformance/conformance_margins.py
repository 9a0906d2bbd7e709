"""How near a membrane of the reference came to its threshold."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np

from neurokd.export.nir_structure import graph_dt, predecessors
from neurokd.export.simulate_neurons import NeuronState, neuron_parameters, neuron_step
from neurokd.export.simulate_nir import NIRRun
from neurokd.export.simulate_schedule import feedback_edges

SPIKING = (nir.IF, nir.LIF, nir.CubaLIF, nir.Threshold)


def smallest_margin(graph: nir.NIRGraph, run: NIRRun) -> float:
    """min |v − threshold| over all spiking neurons, steps and samples, from the run's records.

    Where a loop hands on what its source put out a step before, that is 0 before the first step.
    """
    dt = graph_dt(graph)
    delays = {
        name
        for name, node in graph.nodes.items()
        if isinstance(node, nir.Delay) and node.delay.min() > dt / 2
    }
    late = feedback_edges(graph.edges, delays)
    sources = predecessors(graph)
    smallest = float("inf")
    for name, node in graph.nodes.items():
        if not isinstance(node, SPIKING):
            continue
        arriving = np.zeros_like(run.records[name])
        for source in sources[name]:
            carried = run.records[source]
            if (source, name) in late:
                carried = np.concatenate([np.zeros_like(carried[:1]), carried[:-1]])
            arriving += carried
        if isinstance(node, nir.Threshold):
            smallest = min(smallest, float(np.abs(arriving - node.threshold).min()))
            continue
        parameters = neuron_parameters(node, graph_dt(graph))
        silent = replace(parameters, threshold=None)  # what leaves it is then v, before the reset
        zero = np.zeros_like(arriving[0])
        state = NeuronState(zero, zero)
        for x in arriving:
            v, _ = neuron_step(silent, state, x)
            _, state = neuron_step(parameters, state, x)
            smallest = min(smallest, float(np.abs(v - parameters.threshold).min()))
    return smallest
