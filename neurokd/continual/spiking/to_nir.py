"""A spiking SDMLP as a NIR graph, its loop of inhibition included."""

from __future__ import annotations

import nir
import numpy as np

import neurokd
from neurokd.export.nir_structure import DEFAULT_DT
from neurokd.models.spiking_sdmlp import SpikingSDMLP
from neurokd.models.winner_circuit import LAG


def to_nir(student: SpikingSDMLP, dt: float = DEFAULT_DT) -> nir.NIRGraph:
    """The graph of a spiking SDMLP; it takes messages, one pulse of them.

    ``trace`` cannot write it: a loop through two populations needs its two steps as a Delay.
    The ramp is the bias of the hidden neurons. Inhibitor j sees the spikes of a step less j − 1 and
    fires above ½, which is exact on the chip: all its weights are 1. Units: dt in seconds.
    """
    pulse = student.pulse
    circuit = pulse.winners.circuit
    size, classes = pulse.winners.neurons, pulse.classifier.out_features
    weight = pulse.hidden.weight.detach().cpu().double().numpy() / pulse.unit
    ranks = np.arange(circuit.inhibitors)
    integrator = {"r": np.full(size, 1 / dt), "v_reset": np.zeros(size)}
    nodes = {
        "input": nir.Input(np.array([student.inputs])),
        "cosine": nir.Affine(weight.astype(np.float32), np.full(size, circuit.ramp, np.float32)),
        "hidden": nir.IF(v_threshold=np.full(size, circuit.threshold), **integrator),
        "count": nir.Affine(
            np.ones((circuit.inhibitors, size), np.float32), (-ranks).astype(np.float32)
        ),
        "inhibitors": nir.Threshold(np.full(circuit.inhibitors, 0.5)),
        "wait": nir.Delay(np.full(circuit.inhibitors, LAG * dt)),
        "inhibition": nir.Linear(
            np.full((size, circuit.inhibitors), -circuit.inhibition, np.float32)
        ),
        "classifier": nir.Linear(pulse.classifier.weight.detach().cpu().numpy().copy()),
        "readout": nir.I(r=np.full(classes, 1 / dt)),
        "output": nir.Output(np.array([classes])),
    }
    chain = ("input", "cosine", "hidden", "classifier", "readout", "output")
    loop = ("hidden", "count", "inhibitors", "wait", "inhibition", "hidden")
    edges = [*zip(chain, chain[1:], strict=False), *zip(loop, loop[1:], strict=False)]
    metadata = {
        "dt": dt,
        "reset": "zero",
        "spike_rule": ">",
        "neurokd": neurokd.__version__,
        "steps": circuit.steps,
        "input_scale": 1.0,
    }
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)
