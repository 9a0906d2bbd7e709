"""Whether the last layer of a netx file is an accumulator: its threshold proven out of reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import STATE_SHIFT, THRESHOLD_LIMIT, LIFPopulation


def with_readout(network: DeployedNetwork) -> DeployedNetwork:
    """The network, its output an accumulator if it cannot spike within the network's steps.

    Only an output of the highest threshold is meant so. Bound, over T = steps + latency, with A the
    largest Σ |w| · message into one neuron::

        |u| ≤ 64 A · min(T, 4096 / (du + 1)),  |v| ≤ (|u| + |bias|) · min(T, 4096 / dv)
    """
    output = network.population(network.output)
    if not isinstance(output, LIFPopulation) or output.vth != THRESHOLD_LIMIT:
        return network
    steps = network.steps + network.latency
    arriving = 0.0
    for projection in network.incoming(output.name):
        weight = np.abs(projection.effective_weight.astype(np.float64))
        largest = float(weight.reshape(weight.shape[0], -1).sum(axis=1).max())
        # netx has no exponents above 0, and a convolution's weights are shifted already
        shift = 2.0 ** min(projection.weight_exp, 0)
        arriving += largest * shift * network.population(projection.source).max_message
    current = (arriving * 64) * _sum(output.du + 1, steps)
    bound = (current + float(np.abs(output.bias).max())) * _sum(output.dv, steps)
    if bound >= output.vth << STATE_SHIFT:
        return network
    populations = tuple(
        replace(p, spiking=False) if isinstance(p, LIFPopulation) and p is output else p
        for p in network.populations
    )
    return replace(network, populations=populations)


def _sum(decay: int, steps: int) -> float:
    """At most how much of a constant input a variable of this decay adds up in ``steps``."""
    return float(steps) if decay <= 0 else min(float(steps), 4096 / decay)
