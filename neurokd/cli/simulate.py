"""`neurokd simulate`: a deployed network on the emulator, on Lava or in ONNX Runtime."""

from __future__ import annotations

import io
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
from neurokd.data.steps_first import batches
from neurokd.errors import UsageError
from neurokd.hardware.counts import Counts
from neurokd.verify.statistics import wilson_interval

BACKENDS = ("emulator", "lava", "onnx")


def run(
    source: SourceArgument = None,
    backend: Annotated[
        str, typer.Option(help="emulator, lava or onnx.", metavar="BACKEND")
    ] = "emulator",
    data: Data = None,
    chip: Chip = None,
    samples: Samples = None,
    steps: Steps = None,
    save: Annotated[
        Path | None, typer.Option(help="Keep outputs and spikes.", metavar="FILE.npz")
    ] = None,
    weights: Weights = None,
    sample_shape: SampleShape = None,
    as_json: Json = False,
) -> int:
    """Run a deployed network on the emulator, on Lava or in ONNX Runtime."""
    if backend not in BACKENDS:
        raise UsageError(
            "unknown backend", where="--backend", expected=" | ".join(BACKENDS), found=repr(backend)
        )
    if save is not None and save.suffix != ".npz":
        raise UsageError("--save writes .npz", where=str(save), expected="a name that ends in .npz")
    if backend == "onnx" and chip is not None:
        raise UsageError("--chip is for emulator and lava", where="--backend onnx", found=chip)
    origin = resolve(source, data=data, weights=weights, sample_shape=sample_shape, steps=steps)
    chosen = origin.data.first(samples)
    arrays, answer = (
        _on_onnx(origin, chosen)
        if backend == "onnx"
        else _on_chip(origin, chosen, backend, chip, keep_spikes=save is not None)
    )
    correct = int((arrays["classes"] == chosen.y).sum())
    low, high = wilson_interval(correct, len(chosen))
    answer = {
        "backend": backend,
        "data": chosen.name,
        "samples": len(chosen),
        "accuracy": correct / len(chosen),
        "interval": [low, high],
        **answer,
    }
    if save is not None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, y=chosen.y, **arrays)
        atomic.write_bytes(save, buffer.getvalue())
        answer["saved"] = str(save)
    if as_json:
        console.result_json(answer)
        return 0
    console.result(
        f"{backend}: {correct} of {len(chosen)} right, {correct / len(chosen):.2%} "
        f"(95 % interval {low:.2%} … {high:.2%})"
    )
    if "counts" in answer:
        totals = [
            (name, answer["counts"][key] / len(chosen))
            for name, key in (
                ("spikes", "spikes"),
                ("synaptic operations", "synaptic_operations"),
                ("neuron updates", "neuron_updates"),
            )
        ]
        console.result("per sample: " + ", ".join(f"{value:,.0f} {name}" for name, value in totals))
    return 0


def _on_chip(
    source: Source, data: LabelledData, backend: str, chip: str | None, *, keep_spikes: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    net = source.network(chip)
    data = source.for_chip(data)
    record = ("spikes",) if keep_spikes else ()
    classes, outputs, spikes, totals = [], [], [], []
    overflows: set[tuple[str, str]] = set()
    # a population forgets at its start step what came before
    starts = {
        population.name: getattr(population, "start_step", 1) for population in net.populations
    }
    for part in runs(net, data, backend=backend, steps=source.steps_given, record=record):
        classes.append(part.classes)
        outputs.append(part.output)
        totals.append(part.counts)
        overflows |= {
            (event.population, event.variable)
            for event in part.overflows
            if event.step >= starts[event.population]
        }
        spikes.append({n: r["spikes"].astype(np.int32) for n, r in part.records.items()})
    arrays: dict[str, Any] = {
        "classes": np.concatenate(classes),
        "output": np.concatenate(outputs, axis=1),
    }
    for name in spikes[0]:
        arrays[f"spikes.{name}"] = np.concatenate([part[name] for part in spikes], axis=1)
    counts = Counts.merge(totals)
    warnings = [f"{name}: {variable}" for name, variable in sorted(overflows)]
    for event in warnings:
        console.message(f"warning: a state left its range, {event}")
    return arrays, {
        "chip": net.chip,
        "steps": counts.steps,
        "counts": {
            "spikes": counts.spikes,
            "synaptic_operations": counts.synaptic_operations,
            "neuron_updates": counts.neuron_updates,
        },
        "overflows": warnings,
    }


def _on_onnx(source: Source, data: LabelledData) -> tuple[dict[str, Any], dict[str, Any]]:
    import tempfile

    from neurokd.cli.export import export_onnx
    from neurokd.export.onnx_runtime import run_onnx

    with tempfile.TemporaryDirectory() as folder:
        answer = export_onnx(source, Path(folder))
        path = Path(answer["files"][0])
        scores = np.concatenate([run_onnx(path, batch) for _, batch in batches(data)])
    return (
        {"classes": np.argmax(scores, axis=1), "output": scores},
        {"precision": answer["precision"], "form": answer["form"]},
    )
