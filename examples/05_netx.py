"""A network of lava-dl: read, run, changed and written back for lava-dl.

    python examples/05_netx.py

Stands in for a file that lava-dl has written: two dense layers, the second recurrent, driven by
constant currents. Writes and removes a temporary folder.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from neurokd.export import read_netx, write_netx
from neurokd.export.write_netx import netx_options
from neurokd.hardware import emulate
from neurokd.hardware.population import LIFPopulation

NEURON = {"iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1}


def write_like_lava_dl(path: Path) -> Path:
    """A `.net` file with the groups and data sets that lava-dl's blocks export."""
    generator = np.random.default_rng(0)
    layers = [
        {"type": "input", "shape": [16], "weight": 60.0, "bias": 4.0},
        {"type": "dense", "shape": [32, 1, 1], "weight": (32, 16), "bias": (32,)},
        {"type": "dense_rec", "shape": [10, 1, 1], "weight": (10, 32), "weight_rec": (10, 10)},
    ]
    with h5py.File(path, "w") as file:
        for index, fields in enumerate(layers):
            group = file.create_group(f"layer/{index}")
            for key, value in fields.items():
                if key == "type":
                    group.create_dataset(key, (1,), "S10", [str(value).encode()])
                elif isinstance(value, tuple):
                    group[key] = (2 * generator.integers(-20, 30, value)).astype(np.float32)
                else:
                    group[key] = np.array(value)
            group["neuron/type"] = "CUBA"
            for key, number in NEURON.items():
                group[f"neuron/{key}"] = number
        file["simulation/tSample"] = 32
    return path


def main(fast: bool = False) -> dict[str, float]:
    """Read, run, write with a higher threshold, and return the figures that were asserted."""
    with tempfile.TemporaryDirectory() as folder:
        net = read_netx(write_like_lava_dl(Path(folder) / "network.net"))
        for population in net.populations:
            print(f"{population.name}: {type(population).__name__} of {population.shape}")
        samples = np.random.default_rng(1).random((8 if fast else 256, 16))
        currents = net.encode(samples)  # the file's transform: x · 60 + 4
        spikes = int(emulate(net, currents, net.steps).output.sum())

        output = net.population(net.output)
        assert isinstance(output, LIFPopulation)
        higher = replace(output, vth=2 * output.vth)
        changed = replace(net, populations=(*net.populations[:-1], higher))
        written = write_netx(changed, Path(folder) / "higher.net")
        print(f"lava-dl loads it as Network({written.name!r}, **{netx_options(changed)})")
        ours = emulate(changed, currents, net.steps).output
        again = emulate(read_netx(written), currents, net.steps).output
    print(f"spikes of the output: {spikes}, with a threshold twice as high {int(ours.sum())}")
    assert (ours == again).all()
    assert 0 < ours.sum() < spikes
    return {"spikes": float(spikes), "spikes_of_higher_threshold": float(ours.sum())}


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
