"""A spiking SDMLP as a NIR graph, its loop of inhibition included."""

from __future__ import annotations

from itertools import pairwise

import nir
import numpy as np
import torch

import neurokd
from neurokd.export.nir_structure import DEFAULT_DT
from neurokd.models.spiking_sdmlp import SpikingSDMLP
from neurokd.models.winner_circuit import LAG


def to_nir(student: SpikingSDMLP, dt: float = DEFAULT_DT) -> nir.NIRGraph:
    """The graph of a spiking SDMLP; it takes messages, one pulse of them.

    ``trace`` cannot write it: a loop through two populations needs its two steps as a Delay.
    The ramp is the bias of the hidden neurons, each of which also excites itself. Inhibitor j sees
    the spikes of a step, less those of the step before and j − 1, and fires above ½: all its
    weights are 1 or −1, which is exact on the chip. Units: dt in seconds.
    """
    pulse = student.pulse
    circuit = pulse.winners.circuit
    size, classes = pulse.winners.neurons, pulse.classifier.out_features
    with torch.no_grad():
        weight = pulse.hidden_on_grid().cpu().numpy()
        back = pulse.classifier_on_grid().cpu().numpy()
    ranks = np.arange(circuit.inhibitors)
    integrator = {"r": np.full(size, 1 / dt), "v_reset": np.zeros(size)}
    nodes = {
        "input": nir.Input(np.array([student.inputs])),
        "cosine": nir.Affine(weight, np.full(size, circuit.ramp, np.float32)),
        "hidden": nir.IF(v_threshold=np.full(size, circuit.threshold), **integrator),
        "count": nir.Affine(
            np.ones((circuit.inhibitors, size), np.float32), (-ranks).astype(np.float32)
        ),
        "inhibitors": nir.Threshold(np.full(circuit.inhibitors, 0.5)),
        "past": nir.Delay(np.full(size, dt)),
        "again": nir.Scale(np.full(size, circuit.again, np.float32)),
        "uncount": nir.Linear(-np.ones((circuit.inhibitors, size), np.float32)),
        "wait": nir.Delay(np.full(circuit.inhibitors, LAG * dt)),
        "inhibition": nir.Linear(
            np.full((size, circuit.inhibitors), -circuit.inhibition, np.float32)
        ),
        "classifier": nir.Linear(back),
        "readout": nir.I(r=np.full(classes, 1 / dt)),
        "output": nir.Output(np.array([classes])),
    }
    chain = ("input", "cosine", "hidden", "classifier", "readout", "output")
    loop = ("hidden", "count", "inhibitors", "wait", "inhibition", "hidden")
    own = ("hidden", "past", "again", "hidden")
    edges = [edge for path in (chain, loop, own) for edge in pairwise(path)]
    edges += [("past", "uncount"), ("uncount", "inhibitors")]
    metadata = {
        "dt": dt,
        "reset": "zero",
        "spike_rule": ">",
        "neurokd": neurokd.__version__,
        "steps": circuit.steps,
        "input_scale": 1.0,
    }
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)
