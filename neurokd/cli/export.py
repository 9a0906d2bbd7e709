"""`neurokd export`: a network as NIR, for Loihi, or as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurokd import atomic
from neurokd.cli import console
from neurokd.cli.options import Chip, Data, Json, SampleShape, SourceArgument, Steps, Weights
from neurokd.cli.source import DEFAULT_CHIP, Source, resolve
from neurokd.errors import UsageError

TARGETS = ("nir", "loihi", "onnx")


def run(
    source: SourceArgument = None,
    target: Annotated[str, typer.Option(help="nir, loihi or onnx.", metavar="TARGET")] = "",
    chip: Chip = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write.", metavar="DIR")] = None,
    data: Data = None,
    weights: Weights = None,
    sample_shape: SampleShape = None,
    steps: Steps = None,
    weight_bits: Annotated[int, typer.Option(help="loihi: bits of a weight, 2 to 8.")] = 8,
    form: Annotated[str, typer.Option(help="onnx: unrolled or step.")] = "unrolled",
    precision: Annotated[str, typer.Option(help="onnx: int8 or float.")] = "int8",
    opset: Annotated[int, typer.Option(help="onnx: opset version.")] = 20,
    nir_profile: Annotated[
        str | None,
        typer.Option(help="nir: units of membranes, snntorch or unit-r.", metavar="PROFILE"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Write a network as NIR, for Loihi, or as ONNX."""
    if target not in TARGETS:
        raise UsageError(
            "unknown target",
            where="--target",
            expected=" | ".join(TARGETS),
            found=repr(target) if target else "none",
        )
    if nir_profile is not None and target != "nir":
        raise UsageError("--nir-profile is for --target nir only", found=f"--target {target}")
    origin = resolve(source, data=data, weights=weights, sample_shape=sample_shape, steps=steps)
    folder = out or origin.folder / target
    if target == "nir":
        answer = export_nir(origin, folder, nir_profile)
    elif target == "loihi":
        answer = export_loihi(origin, folder, chip or DEFAULT_CHIP, weight_bits=weight_bits)
    else:
        answer = export_onnx(origin, folder, form=form, precision=precision, opset=opset)
    if as_json:
        console.result_json(answer)
    else:
        for file in answer["files"]:
            console.result(file)
    return 0


def export_nir(source: Source, folder: Path, profile: str | None = None) -> dict[str, Any]:
    """Write ``network.nir``, in the units of a profile or in those it has."""
    from neurokd.export.nir_profile import with_profile
    from neurokd.export.write_nir import write_nir

    graph = source.graph
    if profile is not None:
        graph = with_profile(graph, profile, steps=source.steps)
    with atomic.folder(folder) as temporary:
        write_nir(graph, temporary / "network.nir")
    return {
        "target": "nir",
        "files": [str(folder / "network.nir")],
        "nodes": len(graph.nodes),
        "edges": len(graph.edges),
    }


def export_loihi(source: Source, folder: Path, chip: str, **options: Any) -> dict[str, Any]:
    """Write ``network.safetensors`` (the `DeployedNetwork`) and ``lowering.json``."""
    import json

    net = source.lower(chip, **options)
    with atomic.folder(folder) as temporary:
        net.save(temporary / "network.safetensors")
        report = json.dumps(net.metadata.get("lowering", {}), indent=1)
        atomic.write_text(temporary / "lowering.json", report + "\n")
    return {
        "target": "loihi",
        "chip": chip,
        "files": [str(folder / "network.safetensors"), str(folder / "lowering.json")],
        "populations": len(net.populations),
        "neurons": sum(p.size for p in net.populations if p is not net.input),
        "latency_steps": net.latency,
        "lowering": net.metadata.get("lowering", {}),
    }


def export_onnx(
    source: Source,
    folder: Path,
    *,
    form: str = "unrolled",
    precision: str = "int8",
    opset: int = 20,
) -> dict[str, Any]:
    """Write ``model-PRECISION-FORM.onnx``; older files of the folder stay."""
    from neurokd.export.onnx import to_onnx

    path = folder / onnx_name(form, precision)
    report = to_onnx(
        source.graph,
        path,
        form=form,
        precision=precision,
        steps=source.steps,
        opset=opset,
        calibration=source.calibration.x,
    )
    return {"target": "onnx", "files": [str(path)], **report.to_dict()}


def onnx_name(form: str, precision: str) -> str:
    """File name of an ONNX export."""
    return f"model-{precision}-{form}.onnx"
