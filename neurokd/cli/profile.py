"""`neurokd profile`: spikes, synaptic operations, energy and latency of a deployed network."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from neurokd import atomic
from neurokd.cli import console
from neurokd.cli.deployed import runs
from neurokd.cli.options import (
    Chip,
    Data,
    Json,
    Samples,
    SampleShape,
    SourceArgument,
    Steps,
    Weights,
)
from neurokd.cli.source import Source, resolve
from neurokd.data import LabelledData
from neurokd.data.steps_first import steps_first
from neurokd.hardware.counts import Counts
from neurokd.hardware.network import DeployedNetwork

UNCOUNTED = 1
"""Exit status where something was not counted: the figures are then a lower bound."""


def run(
    source: SourceArgument = None,
    data: Data = None,
    chip: Chip = None,
    samples: Samples = None,
    steps: Steps = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder for profile.json.", metavar="DIR")
    ] = None,
    weights: Weights = None,
    sample_shape: SampleShape = None,
    unmapped: Annotated[
        bool,
        typer.Option("--unmapped", help="A lower bound of the cores, for what fits no chip."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Spikes, synaptic operations, energy and latency of a deployed network."""
    origin = resolve(source, data=data, weights=weights, sample_shape=sample_shape, steps=steps)
    net, chosen = origin.network(chip), origin.for_chip(origin.data.first(samples))
    profiled = profile_source(origin, net, chosen, out, mapped=not unmapped)
    if as_json:
        console.result_json(profiled)
    else:
        _print(profiled)
    return UNCOUNTED if profiled["uncounted"] else 0


def profile_source(
    source: Source,
    net: DeployedNetwork,
    data: LabelledData,
    out: Path | None = None,
    mapped: bool = True,
) -> dict[str, Any]:
    """Profile on the emulator; write ``profile.json`` and ``raster.npz`` (spikes of one sample)."""
    from dataclasses import replace

    from neurokd.hardware.emulator import emulate
    from neurokd.hardware.profile import profile

    parts = list(runs(net, data, steps=source.steps_given))
    whole = replace(
        parts[0],
        counts=Counts.merge([part.counts for part in parts]),
        overflows=tuple(event for part in parts for event in part.overflows),
    )
    profiled = profile(net, whole, mapped=mapped).to_dict()
    steps = data.steps if source.steps_given is None else source.steps_given
    messages = net.padded(net.encode(steps_first(data.first(1)), steps, timed=data.events))
    one = emulate(net, messages, net.chip_steps(steps), record=("spikes",))
    raster = {
        name: (values["spikes"][:, 0].reshape(one.counts.steps, -1) != 0).astype(np.uint8)
        for name, values in one.records.items()
    }
    buffer = io.BytesIO()
    order = np.array(list(raster))
    np.savez_compressed(buffer, label=data.y[0], population_order=order, **raster)
    folder = out or source.folder
    atomic.write_bytes(folder / "raster.npz", buffer.getvalue())
    atomic.write_text(folder / "profile.json", json.dumps(profiled, indent=1) + "\n")
    return profiled


def _print(profiled: dict[str, Any]) -> None:
    rows = [
        (
            layer["name"],
            layer["neurons"],
            f"{layer['spikes_per_sample']:,.0f}",
            f"{layer['spikes_per_neuron_step']:.3f}",
            f"{layer['synaptic_operations_per_sample']:,.0f}",
            console.significant(layer["energy_pj"]["nominal"] / 1e6),
        )
        for layer in profiled["layers"]
    ]
    console.result(
        console.table(
            rows,
            ("layer", "neurons", "spikes", "per neuron and step", "synops in", "dynamic µJ"),
        )
    )
    console.result(f"\nenergy a sample, {profiled['chip']}:")
    lines = [
        (line["name"], *console.band(line["energy_pj"], 1e6), line["grade"])
        for line in profiled["energy_lines"]
    ]
    lines.append(("total", *console.band(profiled["energy_pj"], 1e6), ""))
    console.result(console.table(lines, ("line", "low µJ", "nominal µJ", "high µJ", "grade")))
    low, nominal, high = console.band(profiled["latency_us"])
    console.result(f"\nlatency: {nominal} µs ({low} … {high}), {profiled['latency_grade']}")
    cores = profiled["cores"]
    console.result(
        f"cores: {'' if cores['mapped'] else 'at least '}{cores['count']} "
        f"on {cores['chips']} chip{'' if cores['chips'] == 1 else 's'}; binding {cores['binding']}"
    )
    for note in profiled["notes"]:
        console.result(f"note: {note}")
    for item in profiled["uncounted"]:
        console.message(f"not counted: {item}")
