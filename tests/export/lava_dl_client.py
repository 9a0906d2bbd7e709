"""Runs a netx file in lava-dl's own `Network`, on Lava's CPU backend: messages of every layer.

    python lava_dl_client.py FILE.net OPTIONS.json INPUT.npz OUTPUT.npz

Imports lava-dl, numpy and nothing of neurokd. Arrays of the input are x (T, *shape), or (*shape)
for neurons driven by their bias, and steps; the output has 0, 1, … (T, *shape) for each layer and
v of the last one, where it has a v. Shapes are (C, H, W) or (N,) outside, Lava's (W, H, C) inside.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from lava.lib.dl import netx
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv import utils
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

utils.TORCH_IS_AVAILABLE = False  # as lava-dl's own tests: torch and Lava's processes get stuck


def main(file: str, options: str, given: str, wanted: str) -> None:
    """Build, feed, run, and save what every layer sent."""
    net = netx.hdf5.Network(file, **json.loads(options))
    with np.load(given) as arrays:
        x, steps = arrays["x"], int(arrays["steps"])
    kind = type(net.in_layer).__name__
    if kind == "Input" and hasattr(net.in_layer.neuron, "bias_mant"):
        net.in_layer.neuron.bias_mant.init = x.T
    else:
        data = x.T if x.ndim > 2 else x.reshape(steps, -1).T
        if kind != "Input" and len(net.in_layer.inp.shape) == 1:
            data = x.reshape(steps, -1).T
        source = Source(data=data)
        source.s_out.connect(net.in_layer.neuron.a_in if kind == "Input" else net.inp)
    sinks = []
    for layer in net.layers:
        sinks.append(Sink(shape=layer.out.shape, buffer=steps))
        layer.out.connect(sinks[-1].a_in)
    net.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    found = {str(i): sink.data.get().T for i, sink in enumerate(sinks)}
    neuron = net.out_layer.neuron
    if hasattr(neuron, "v"):
        found["v"] = neuron.v.get().T
    net.stop()
    np.savez(wanted, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
