"""Reading lava-dl's netx files: a `.net` file of any origin as one integer network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from neurokd.errors import FileFormatError, NeurokdError, UnsupportedNodeError, UsageError
from neurokd.export.hdf5_tree import read_hdf5_tree
from neurokd.export.netx_layer import NetxLayer
from neurokd.export.netx_neurons import (
    OUT_OF_REACH,
    input_population,
    is_graded,
    neuron_population,
)
from neurokd.export.netx_readout import with_readout
from neurokd.export.netx_record import RECORD, NetxRecord
from neurokd.export.netx_synapses import (
    Source,
    Synapses,
    average_synapses,
    conv_synapses,
    dense_synapses,
    dense_width,
    pool_synapses,
)
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    INPUT_KINDS,
    InputPopulation,
    LIFPopulation,
    NeuronPopulation,
    Population,
)
from neurokd.hardware.projection import Projection

SPIKE_EXP = 6
GRADED_BITS = 16
_LISTED = 200
_INPUT = "input"


def read_netx(
    path: str | Path,
    *,
    steps: int | None = None,
    num_layers: int | None = None,
    skip_layers: int = 0,
    input_shape: tuple[int, ...] | None = None,
    input_message_bits: int = 0,
    spike_exp: int | None = None,
    reset: bool | None = None,
) -> DeployedNetwork:
    """The integer network of a netx file, with h5py alone.

    Populations are named by their index and type, "0.input", "1.conv"; where no input layer has
    neurons, the input is "input" and takes spikes, or signed messages of ``input_message_bits``.
    A flatten layer is no population. An average layer, which lava-dl itself does not run, becomes
    an accumulator whose v is 64 times the spikes of each share so far.

    ``num_layers``, ``skip_layers``, ``spike_exp`` (6): as lava-dl's ``Network`` has them.
    ``input_shape``: (C, H, W), for a file that does not say it. ``steps``: input steps, in place of
    the file's ``simulation/tSample``; 1 where neither says it. ``reset``: each population forgets
    what it integrated before its first input arrived, which is what lava-dl's ``reset_interval``
    does. A file of `write_netx` says itself what spike_exp and reset are not given.

    Raises: `FileFormatError` (damaged, inconsistent, hostile), `UnsupportedNodeError` (ALIF, RF,
    complex, convT, unpool, concat …), `CapacityError`, each with file and layer; `UsageError`.
    Source: `lava.lib.dl.netx.hdf5` (lava-dl 0.6.0).
    """
    path = Path(path)
    if skip_layers < 0 or (num_layers is not None and num_layers <= skip_layers):
        raise UsageError(
            "no layer is left",
            where="read_netx",
            expected="0 ≤ skip_layers < num_layers",
            found=f"skip_layers {skip_layers}, num_layers {num_layers}",
        )
    try:
        tree = read_hdf5_tree(path)
        record = NetxRecord.of(tree.get(RECORD))
        if spike_exp is None:
            spike_exp = SPIKE_EXP if record.spike_exp is None else record.spike_exp
        building = _Building(spike_exp, input_message_bits, input_shape)
        layers = _layers(tree)
        for layer in layers[:num_layers]:
            building.add(layer, kept=layer.index >= skip_layers)
        network = building.network(steps or _steps(tree) or 1, path.name)
        network = with_readout(network)
        if num_layers is None and not skip_layers:
            network = record.applied(network)
        return network if reset is None else _with_reset(network, reset)
    except NeurokdError as error:
        _reraise(error, path)
    except Exception as error:  # h5py raises ten kinds of exception at damaged bytes
        raise FileFormatError(
            "this is not a complete netx file",
            where=str(path),
            expected="an HDF5 file written by lava-dl",
            found=_shown(f"{type(error).__name__}: {error}"),
        ) from error


@dataclass
class _Building:
    """The network as far as its layers have been read."""

    spike_exp: int
    message_bits: int
    input_shape: tuple[int, ...] | None
    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    flattened: bool = False
    changed: dict[str, int] = field(default_factory=dict)
    neurons: int = 0

    def add(self, layer: NetxLayer, kept: bool) -> None:
        """Take one more layer; one that is skipped only says what its successor receives."""
        if layer.kind == "flatten":
            self.flattened = True
            return
        if layer.kind == "input":
            self._add_input(layer, kept)
            return
        if layer.kind not in ("dense", "dense_rec", "conv", "pool", "average"):
            raise UnsupportedNodeError(
                f"a layer of type {layer.kind} has no place in the integer network",
                where=layer.where,
                expected="input, dense, dense_rec, conv, pool, flatten or average",
                found=layer.kind,
                remedy="replace it by one of these where the network is trained",
            )
        shape = layer.shape()
        if layer.kind in ("dense", "dense_rec", "average"):
            shape = (math.prod(shape),)
        self.neurons += math.prod(shape)
        layer.require_memory("neurons up to this layer", self.neurons)
        if layer.kind == "average":
            population: NeuronPopulation = self._accumulator(layer, shape)
        else:
            population = neuron_population(layer, shape, self.spike_exp)
        if not kept:
            self.input_shape = shape
            self.message_bits = GRADED_BITS if is_graded(population) else 0
            self.flattened = False
            return
        synapses = self._synapses(layer, shape)
        self.populations.append(population)
        self.projections.extend(synapses.projections)
        if synapses.changed_weights:
            self.changed[layer.name] = synapses.changed_weights
        self.flattened = False

    def network(self, steps: int, file: str) -> DeployedNetwork:
        """The network of the layers taken."""
        if not self.populations or isinstance(self.populations[-1], INPUT_KINDS):
            raise FileFormatError(
                "there is no layer with synapses",
                where="layer",
                expected="dense, dense_rec, conv or pool",
            )
        metadata: dict[str, Any] = {"netx": {"file": file, "changed_weights": self.changed}}
        return DeployedNetwork(
            populations=tuple(self.populations),
            projections=tuple(self.projections),
            output=self.populations[-1].name,
            chip="loihi2",
            steps=steps,
            metadata=metadata,
        )

    def _add_input(self, layer: NetxLayer, kept: bool) -> None:
        if self.populations:
            raise UnsupportedNodeError("a second input", where=layer.where, expected="one input")
        if "shape" in layer:
            self.neurons += math.prod(layer.shape())
            layer.require_memory("neurons up to this layer", self.neurons)
        if layer.neuron is None:
            if "shape" in layer:
                self.input_shape = layer.shape()
            return
        population = input_population(layer, layer.shape(), self.spike_exp)
        if kept:
            self.populations.append(population)
        else:
            self.input_shape = population.shape
            self.message_bits = GRADED_BITS if is_graded(population) else 0

    def _synapses(self, layer: NetxLayer, shape: tuple[int, ...]) -> Synapses:
        if layer.kind in ("dense", "dense_rec"):
            return dense_synapses(layer, self._source(layer, shape), shape[0])
        source = self._source(layer, shape)
        if layer.kind == "conv":
            return conv_synapses(layer, source, shape)
        if layer.kind == "pool":
            return pool_synapses(layer, source, shape)
        return average_synapses(layer, source, shape[0])

    def _source(self, layer: NetxLayer, shape: tuple[int, ...]) -> Source:
        """The population before this layer; the first one makes the network's input."""
        if not self.populations:
            if self.input_shape is None and layer.kind.startswith("dense"):
                self.input_shape = (dense_width(layer, shape[0]),)
            if self.input_shape is None:
                raise UsageError(
                    "the file does not say the shape of its input",
                    where=layer.where,
                    expected="input_shape=(C, H, W)",
                    found="none",
                )
            graded = self.message_bits > 0
            self.populations.append(
                InputPopulation(
                    _INPUT,
                    self.input_shape,
                    encoding="graded" if graded else "spikes",
                    bits=self.message_bits if graded else 1,
                    signed=graded,
                )
            )
            # lava-dl takes what comes in as flat where the first layer is dense
            self.flattened |= layer.kind.startswith("dense")
        last = self.populations[-1]
        return Source(last.name, last.shape, self.flattened)

    def _accumulator(self, layer: NetxLayer, shape: tuple[int, ...]) -> LIFPopulation:
        if self.populations and is_graded(self.populations[-1]):
            raise UnsupportedNodeError(
                "the average of graded messages",
                where=layer.where,
                expected="spikes",
                remedy="end the network in a sigma-delta output layer",
            )
        return LIFPopulation(
            name=layer.name,
            shape=shape,
            du=4095,
            dv=0,
            vth=OUT_OF_REACH,
            bias_mant=np.zeros(shape, dtype=np.int32),
            spiking=False,
        )


def _layers(tree: dict[str, Any]) -> list[NetxLayer]:
    """The layers in the order of their names, which are 0, 1, 2, …"""
    groups = tree.get("layer")
    if not isinstance(groups, dict) or not groups:
        raise FileFormatError(
            "this HDF5 file holds no netx layers",
            expected="groups /layer/0, /layer/1, …",
            found=_shown(", ".join(sorted(tree))) or "nothing",
        )
    layers = []
    for index in range(len(groups)):
        fields = groups.get(str(index))
        if not isinstance(fields, dict):
            raise FileFormatError(
                "a layer is missing",
                where=f"layer {index}",
                expected=f"groups 0 … {len(groups) - 1}",
                found=_shown(", ".join(sorted(groups))),
            )
        kind = NetxLayer(index, "?", fields).text("type")
        layers.append(NetxLayer(index, _shown(kind, 40), fields))
    return layers


def _steps(tree: dict[str, Any]) -> int | None:
    group = tree.get("simulation")
    if not isinstance(group, dict) or "tSample" not in group:
        return None
    return NetxLayer(0, "simulation", group).integer("tSample")


def _with_reset(network: DeployedNetwork, reset: bool) -> DeployedNetwork:
    """Each population starts anew at the step in which its first input arrives, or none does."""
    populations = []
    for population in network.populations:
        if isinstance(population, LIFPopulation):
            start = network.depth(population.name) + 1 if reset else 1
            population = replace(population, start_step=start)
        elif reset and not isinstance(population, INPUT_KINDS):
            raise UsageError(
                "sigma-delta neurons have no reset", where=f"population {population.name!r}"
            )
        populations.append(population)
    return replace(network, populations=tuple(populations))


def _reraise(error: NeurokdError, path: Path) -> NoReturn:
    """The same error with the file in front; what it repeats of the file is cut."""
    where = f"{path}: {error.where}" if error.where else str(path)
    raise type(error)(
        error.what,
        where=_shown(where, _LISTED + len(str(path))),
        expected=_shown(error.expected),
        found=_shown(error.found),
        remedy=error.remedy,
    ) from error


def _shown(text: str, most: int = _LISTED) -> str:
    return text if len(text) <= most else f"{text[:most]} …"
