"""A neuron that always fires: the bias of neurons that cannot have one of their own."""

from __future__ import annotations

import numpy as np

from neurokd.export.float_network import Ends, FloatPopulation, FloatProjection
from neurokd.export.linear_maps import Floats


def constant_drive(
    target: FloatPopulation, bias: Floats, reached_from: str
) -> tuple[FloatPopulation, tuple[FloatProjection, FloatProjection]]:
    """One neuron that fires at every step, with the bias of each target neuron as its weights.

    The chip adds a bias to v, from its first step on. This one enters u, before the synapse's
    filter, and its delay keeps it back until the target's first input arrives. A synapse of weight
    0 from ``reached_from`` gives the neuron its place in the network, whose depths ignore it.
    """
    name = f"{target.name}.bias"
    neuron = FloatPopulation(
        name, (1,), "spiking", np.full(1, 2.0), beta=0.0, threshold=1.0, drive=True
    )
    first = np.zeros(1, dtype=np.int64)
    reach = FloatProjection(
        f"{name}.reach", reached_from, name, np.zeros(1), ends=Ends(first, first), fixed=True
    )
    drive = FloatProjection(f"{name}.drive", name, target.name, bias.reshape(-1, 1), recurrent=True)
    return neuron, (reach, drive)
