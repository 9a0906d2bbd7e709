"""Writing lava-dl's netx files: the integer network as what `lava.lib.dl.netx` loads and runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurokd.atomic import write_bytes
from neurokd.errors import UnsupportedNodeError
from neurokd.export.netx_record import RECORD, NetxRecord
from neurokd.export.netx_written import (
    Fields,
    input_fields,
    neuron_fields,
    spike_exponent,
    synapse_fields,
)
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
)
from neurokd.hardware.projection import ConvProjection, Projection


def write_netx(network: DeployedNetwork, path: str | Path) -> Path:
    """Write the network as a netx file, complete or not at all.

    `lava.lib.dl.netx.hdf5.Network`, with the arguments that `netx_options` names, then runs to the
    same spikes, and `read_netx` gives the same network but for its metadata and for how a weight
    is split into mantissa and exponent, which the file leaves to its reader. What netx cannot say
    is refused: more than a chain of layers (recurrent dense layers apart), sparse synapses, a start
    step that is not the arrival of the first input, biases that are no multiples of 64, weights
    that are no integers once shifted by their exponent, delta neurons behind the input, and others.

    Raises: `UnsupportedNodeError` naming population or projection, with the remedy.
    """
    chain = _chain(network)
    names: dict[str, str] = {}
    content = io.BytesIO()
    projections: dict[str, str] = {}
    with h5py.File(content, "w") as file:
        layers = file.create_group("layer")

        def add(kind: str, fields: Fields) -> str:
            index = len(layers)
            _write(layers.create_group(str(index)), {"type": kind, **fields})
            return f"{index}.{kind}"

        own = input_fields(network.input)
        names[network.input.name] = add("input", own)
        if "neuron" not in own:
            names[network.input.name] = "input"
        for source, forward, back, population in chain:
            if not isinstance(forward, ConvProjection) and len(source.shape) == 3:
                add("flatten", {"shape": np.array([source.size, 1, 1])})
            kind = "conv" if isinstance(forward, ConvProjection) else "dense"
            kind = "dense_rec" if back is not None else kind
            fields = synapse_fields(forward, back, population)
            name = add(kind, {**fields, **neuron_fields(population, network)})
            names[population.name] = name
            projections[f"{name}.synapse"] = forward.name
            if back is not None:
                projections[f"{name}.recurrent"] = back.name
        _write(file.create_group("simulation"), {"Ts": 1, "tSample": network.steps})
        record = _record(network, names, projections)
        file.create_dataset(RECORD, data=np.bytes_(record.text().encode()))
    return write_bytes(Path(path), content.getvalue())


def netx_options(network: DeployedNetwork) -> dict[str, int]:
    """The arguments with which lava-dl's ``Network`` runs the written file as the emulator does.

    ``input_message_bits`` where the input sends graded messages; ``spike_exp`` where it is not
    lava-dl's 6; ``reset_interval`` and ``reset_offset`` where populations start with their first
    input: samples then follow each other every ``reset_interval`` steps.
    """
    options: dict[str, int] = {}
    population = network.input
    plain = isinstance(population, InputPopulation)
    if isinstance(population, InputPopulation) and population.encoding == "graded":
        options["input_message_bits"] = population.bits
    exponent = spike_exponent(network)
    if exponent not in (None, 6):
        options["spike_exp"] = exponent or 0
    if any(getattr(p, "start_step", 1) > 1 for p in network.populations):
        options["reset_interval"] = network.steps + network.latency
        # lava-dl counts layers with neurons, of which such an input is none
        options["reset_offset"] = int(plain)
    return options


def _chain(
    network: DeployedNetwork,
) -> list[tuple[Population, Projection, Projection | None, Population]]:
    """From the input to the output: source, projection, recurrent projection, population."""
    chain: list[tuple[Population, Projection, Projection | None, Population]] = []
    source: Population = network.input
    starts_late = any(getattr(p, "start_step", 1) > 1 for p in network.populations)
    biased = isinstance(source, CurrentInputPopulation)
    for population in network.populations[1:]:
        where = f"population {population.name!r}"
        forward = [p for p in network.incoming(population.name) if not p.recurrent]
        back = [p for p in network.incoming(population.name) if p.recurrent]
        if len(forward) > 1 or len(back) > 1:
            raise UnsupportedNodeError(
                "netx cannot say that several projections lead into one population",
                where=where,
                found=", ".join(p.name for p in (*forward, *back)),
                remedy="use a network without residual edges",
            )
        if forward[0].source != source.name:
            raise UnsupportedNodeError(
                "netx says chains of layers only",
                where=where,
                expected=f"a projection from {source.name!r}",
                found=repr(forward[0].source),
                remedy="use a network without branches",
            )
        loop = back[0] if back else None
        if loop is not None and loop.source != population.name:
            raise UnsupportedNodeError(
                "netx says loops of one population only",
                where=f"projection {loop.name!r}",
                expected=f"a projection from {population.name!r}",
                found=repr(loop.source),
            )
        start, arrival = getattr(population, "start_step", 1), network.depth(population.name) + 1
        if isinstance(population, LIFPopulation):
            biased |= bool(population.bias_mant.any())
        if start not in (1, arrival) or (start == 1 and starts_late and biased):
            raise UnsupportedNodeError(
                "netx cannot say this start step: lava-dl resets all layers or none",
                where=where,
                expected=f"{arrival}, when the first input arrives",
                found=str(start),
            )
        chain.append((source, forward[0], loop, population))
        source = population
    if network.output != source.name:
        raise UnsupportedNodeError(
            "netx takes the last layer for the output",
            where=f"population {network.output!r}",
            expected=repr(source.name),
            found=repr(network.output),
        )
    return chain


def _record(
    network: DeployedNetwork, names: dict[str, str], projections: dict[str, str]
) -> NetxRecord:
    population = network.input
    output = network.population(network.output)
    encoding: dict[str, Any] = {}
    if isinstance(population, InputPopulation):
        fields = ("encoding", "bits", "scale", "signed")
        encoding = {name: getattr(population, name) for name in fields}
    elif not isinstance(population, CurrentInputPopulation):
        encoding = {"bits": population.bits}
    return NetxRecord(
        populations={theirs: ours for ours, theirs in names.items()},
        projections=projections,
        chip=network.chip,
        input=encoding,
        readout=not output.spiking if isinstance(output, LIFPopulation) else None,
        spike_exp=spike_exponent(network),
        start_steps={
            names[p.name]: step
            for p in network.populations
            if (step := int(getattr(p, "start_step", 1))) > 1
        },
    )


def _write(group: h5py.Group, fields: Fields) -> None:
    for key, value in fields.items():
        if isinstance(value, dict):
            _write(group.create_group(key), value)
        elif isinstance(value, str):
            group.create_dataset(key, data=np.bytes_(value.encode("ascii")))
        else:
            group.create_dataset(key, data=value)
