"""The bundle: a deployed network as files that run in Lava without neurokd."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from neurokd import atomic
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import output_variable

FORMAT = "neurokd.bundle/1"
_HERE = Path(__file__).resolve().parent
_SCRIPTS = (
    _HERE / "bundle" / "run_in_lava.py",
    _HERE / "bundle" / "read_files.py",
    _HERE / "bundle" / "encode_samples.py",
    _HERE / "bundle" / "on_loihi2.py",
    _HERE / "lava_network.py",
)
_README = """A spiking network for Intel's Loihi, and what runs it in Lava.

Needed: Linux, Python 3.10 and lava-nc 0.10.0 (numpy and scipy come with it)

    python3.10 -m venv lava
    lava/bin/pip install lava-nc==0.10.0

Run, here or by its path from any other folder:

    lava/bin/python run_in_lava.py --data samples.npz

samples.npz holds x, numbers of shape (samples, {shape}) as the network was trained on, and y,
the classes 0, 1, … of shape (samples,). It is read without pickle. Printed are the accuracy, the
messages (spikes) of every population and the output of the first sample; --save out.npz keeps the
output and the spikes of every step, --record u v spikes the state as well; --help says more.

Each sample is given for {steps} steps, followed by {latency} silent ones until the last of them has
reached the output. All state is set back before each sample.

--hw runs on a Loihi 2 chip. It needs Intel's extension lava-loihi and is UNTESTED: it cannot be
tested without a chip. --rehearse-hw runs the same processes in Lava's model on this computer.

Files: network.npz        the network: integer arrays, and its structure as JSON text
       run_in_lava.py     the command
       read_files.py      the network and the samples, checked
       encode_samples.py  samples to the integers that enter the network
       lava_network.py    the network as processes of Lava
       on_loihi2.py       --hw
"""


def write_bundle(network: DeployedNetwork, folder: Path) -> list[Path]:
    """Write ``network.safetensors`` and, beside it, what runs the network without neurokd.

    `network.npz` holds the arrays of the safetensors file under their names and, as the text
    "structure", its description with the depth of every population, the latency and the variable
    that is the output. Each file appears complete, by rename.
    """
    saved = network.save(folder / "network.safetensors")
    with safe_open(str(saved), framework="numpy") as stream:
        description = json.loads(stream.metadata()["neurokd"])
        tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    description.pop("metadata")  # how the network came to be: no part of what it is
    structure = description | {
        "format": FORMAT,
        "depths": {p.name: network.depth(p.name) for p in network.populations},
        "latency": network.latency,
        "output_variable": output_variable(network.population(network.output)),
    }
    packed = io.BytesIO()
    np.savez(packed, structure=np.array(json.dumps(structure)), **tensors)
    shape = network.input.shape if network.host is None else network.host.shape
    readme = _README.format(
        shape=", ".join(map(str, shape)), steps=network.steps, latency=network.latency
    )
    written = [
        saved,
        atomic.write_bytes(folder / "network.npz", packed.getvalue()),
        atomic.write_text(folder / "README.txt", readme),
    ]
    return written + [atomic.write_bytes(folder / s.name, s.read_bytes()) for s in _SCRIPTS]
