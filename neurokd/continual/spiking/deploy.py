"""A spiking student on the chip: lowered, run in the emulator, and what it costs there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from neurokd.continual.spiking.deployed_data import as_pulse
from neurokd.continual.spiking.to_nir import to_nir
from neurokd.data.labelled import LabelledData
from neurokd.data.steps_first import steps_first
from neurokd.export.lower import lower
from neurokd.hardware.band import Band
from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.counts import Counts
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.profile import profile
from neurokd.hardware.run import Run
from neurokd.models.spiking_sdmlp import SpikingSDMLP

CHIP = "loihi2"
CALIBRATION = 200
"""Training samples that lowering looks at."""
_BATCH = 250


@dataclass(frozen=True)
class Measured:
    """What a deployed network did with some samples; ``winners`` are of each sample."""

    classes: np.ndarray[Any, np.dtype[np.int64]]
    winners: np.ndarray[Any, np.dtype[np.int64]]
    run: Run


@dataclass(frozen=True)
class Cost:
    """What a sample costs on the chip, and what a dense network of the same size would.

    ``dynamic_pj`` is the energy of synaptic operations, neuron updates and messages; ``energy_pj``
    has static power and management processors besides. The dense network sends one message from
    each input and hidden neuron, updates each neuron once, and does one synaptic operation for
    each weight, r (d + K); it is counted, not run, and only its dynamic energy is given.
    """

    synaptic_operations: float
    dynamic_pj: Band
    energy_pj: Band
    latency_us: Band
    cores: int
    dense_operations: int
    dense_dynamic_pj: Band

    def to_dict(self) -> dict[str, Any]:
        """The cost as JSON."""
        return asdict(self)


def deploy(student: SpikingSDMLP, train: LabelledData) -> DeployedNetwork:
    """The integer network of a student; ``train`` are messages of training samples.

    Raises: as `lower`.
    """
    data = as_pulse(train.first(CALIBRATION), student.pulse.winners.steps)
    return lower(to_nir(student), CHIP, calibration=steps_first(data), input_scale=1.0)


def measure(net: DeployedNetwork, data: LabelledData) -> Measured:
    """Run messages through a deployed network; a winner fires within the input's steps."""
    depth = net.depth("hidden")
    classes, winners, runs = [], [], []
    for part in _batches(data):
        x = net.encode(steps_first(as_pulse(part, net.steps)), net.steps, timed=True)
        run = emulate(net, net.padded(x), net.chip_steps(), record=("spikes",))
        fired = run.records["hidden"]["spikes"][depth : depth + net.steps].any(axis=0)
        classes.append(run.classes)
        winners.append(fired.sum(axis=1))
        runs.append(replace(run, records={}))
    return Measured(np.concatenate(classes), np.concatenate(winners), _joined(runs))


def cost(net: DeployedNetwork, measured: list[Measured]) -> Cost:
    """What a sample of all these runs together costs.

    Raises: as `profile`.
    """
    run = _joined([each.run for each in measured])
    found = profile(net, run)
    chip = ChipSpec.load(net.chip)
    powers = ("static power", "management processors")
    dynamic = [line.energy_pj for line in found.energy_lines if line.name not in powers]
    inputs, size, classes = (net.population(n).size for n in ("input", "hidden", "readout"))
    dense = size * (inputs + classes)
    return Cost(
        synaptic_operations=run.counts.synaptic_operations / run.counts.samples,
        dynamic_pj=Band.total(dynamic),
        energy_pj=found.energy_pj,
        latency_us=found.latency.latency_us,
        cores=found.cores.count,
        dense_operations=dense,
        dense_dynamic_pj=chip.band("synaptic_operation_dense_energy_pj") * dense
        + chip.band("neuron_update_energy_pj") * (size + classes)
        + chip.band("message_energy_pj") * (inputs + size),
    )


def _joined(runs: list[Run]) -> Run:
    """Several runs of one network, in which only counts and overflows still matter."""
    return replace(
        runs[0],
        output=np.concatenate([run.output for run in runs], axis=1),
        counts=Counts.merge([run.counts for run in runs]),
        overflows=tuple(overflow for run in runs for overflow in run.overflows),
    )


def _batches(data: LabelledData) -> Iterator[LabelledData]:
    for start in range(0, len(data), _BATCH):
        stop = start + _BATCH
        yield replace(data, x=data.x[start:stop], y=data.y[start:stop])
