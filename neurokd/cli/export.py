"""`neurokd export`: a network as NIR, for Loihi, as netx, or as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from neurokd import atomic
from neurokd.cli import console
from neurokd.cli.lowering_table import lowering_rows
from neurokd.cli.options import Chip, Data, Json, SampleShape, SourceArgument, Steps, Weights
from neurokd.cli.source import DEFAULT_CHIP, Source, resolve
from neurokd.data.steps_first import steps_first
from neurokd.errors import UsageError

if TYPE_CHECKING:
    from neurokd.export.trace_neurons import ResetNone

TARGETS = ("nir", "loihi", "netx", "onnx")
RESETS_NONE = ("refuse", "threshold")


def run(
    source: SourceArgument = None,
    target: Annotated[str, typer.Option(help="nir, loihi, netx or onnx.", metavar="TARGET")] = "",
    chip: Chip = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write.", metavar="DIR")] = None,
    data: Data = None,
    weights: Weights = None,
    sample_shape: SampleShape = None,
    steps: Steps = None,
    weight_bits: Annotated[
        int | None,
        typer.Option(help="loihi: bits of a weight, 1 to 8; else the run's, else 8."),
    ] = None,
    finetune: Annotated[
        bool,
        typer.Option(
            "--finetune",
            help="loihi: first train the run on in the chip's integers; its weights are replaced.",
        ),
    ] = False,
    teacher: Annotated[
        Path | None,
        typer.Option(help="--finetune: the teacher's run or weights.", metavar="RUN|FILE"),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(help="onnx: unrolled or step, of spiking networks; else unrolled."),
    ] = None,
    precision: Annotated[str, typer.Option(help="onnx: int8 or float.")] = "int8",
    opset: Annotated[int, typer.Option(help="onnx: opset version.")] = 20,
    nir_profile: Annotated[
        str | None,
        typer.Option(help="nir: units of membranes, snntorch or unit-r.", metavar="PROFILE"),
    ] = None,
    reset_none: Annotated[
        str,
        typer.Option(
            help="torch networks: what neurons that never reset become: refuse, or threshold "
            "for a leak and a threshold one after the other.",
            metavar="FORM",
        ),
    ] = "refuse",
    as_json: Json = False,
) -> int:
    """Write a network as NIR, for Loihi, as netx, or as ONNX."""
    if target not in TARGETS:
        raise UsageError(
            "unknown target",
            where="--target",
            expected=" | ".join(TARGETS),
            found=repr(target) if target else "none",
        )
    if nir_profile is not None and target != "nir":
        raise UsageError("--nir-profile is for --target nir only", found=f"--target {target}")
    if target != "loihi" and (finetune or weight_bits is not None):
        given = "--finetune" if finetune else "--weight-bits"
        raise UsageError(f"{given} is for --target loihi only", found=f"--target {target}")
    if teacher is not None and not finetune:
        raise UsageError("--teacher is for --finetune only", found=str(teacher))
    if reset_none not in RESETS_NONE:
        raise UsageError(
            "unknown form of neurons that never reset",
            where="--reset-none",
            expected=" | ".join(RESETS_NONE),
            found=repr(reset_none),
        )
    origin = resolve(
        source,
        data=data,
        weights=weights,
        sample_shape=sample_shape,
        steps=steps,
        reset_none=cast("ResetNone", reset_none),
    )
    if reset_none != "refuse" and (origin.nir_file or origin.deployed_file):
        raise UsageError(
            "--reset-none is for torch networks; a file says what its neurons are",
            where=origin.name,
            remedy="leave it out",
        )
    folder = out or origin.folder / target
    if target == "nir":
        answer = export_nir(origin, folder, nir_profile)
    elif target == "loihi":
        if finetune:
            origin = _finetuned(origin, teacher, weight_bits, chip or DEFAULT_CHIP)
        answer = export_loihi(origin, folder, chip, weight_bits)
    elif target == "netx":
        answer = export_netx(origin, folder, chip)
    else:
        answer = export_onnx(origin, folder, form=form, precision=precision, opset=opset)
    if as_json:
        console.result_json(answer)
    else:
        for file in answer["files"]:
            console.result(file)
        rows = lowering_rows(answer)
        if rows:
            console.message(console.table([tuple(r.values()) for r in rows], tuple(rows[0])))
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


def _finetuned(source: Source, teacher: Path | None, weight_bits: int | None, chip: str) -> Source:
    """The run once its student has trained on in integers."""
    from dataclasses import replace

    from neurokd.cli.train import needs_teacher, own_teacher, teacher_for
    from neurokd.training.finetune_run import finetune_run

    if source.run is None:
        raise UsageError(
            "only a run can be fine-tuned: it says how it was trained, and on what",
            where=source.name,
            expected="a run folder of `neurokd train`",
            remedy="leave out --finetune",
        )
    config = source.run.config()
    guide = None
    if needs_teacher(config, teacher):
        guide = teacher_for(config, teacher, source.run) if teacher else own_teacher(source.run)
    bits = weight_bits or config.weight_bits
    with console.steps(f"fine-tuning, {bits} bits") as tell:
        finetune_run(source.run, guide, bits, chip, progress=tell)
    return replace(source)


def export_loihi(
    source: Source, folder: Path, chip: str | None, weight_bits: int | None = None
) -> dict[str, Any]:
    """Write ``network.safetensors``, ``lowering.json`` and what runs it in Lava without neurokd.

    A run that was trained in integers keeps its grid, unless other ``weight_bits`` are asked for.
    """
    import json

    from neurokd.hardware.lava_bundle import write_bundle
    from neurokd.training.finetune_run import recorded_quantisation

    if source.deployed_file is not None:
        return _bundle(source, folder, chip, weight_bits)
    options = recorded_quantisation(source.run) if source.run else None
    if options is None or weight_bits not in (None, options["weight_bits"]):
        options = {"weight_bits": weight_bits or _own_weight_bits(source)}
    net = source.lower(chip or DEFAULT_CHIP, **options)
    with atomic.folder(folder) as temporary:
        bundle = write_bundle(net, temporary)
        report = json.dumps(net.metadata.get("lowering", {}), indent=1)
        atomic.write_text(temporary / "lowering.json", report + "\n")
    return {
        "target": "loihi",
        "chip": net.chip,
        "files": [str(folder / name) for name in (*(f.name for f in bundle), "lowering.json")],
        "populations": len(net.populations),
        "neurons": sum(p.size for p in net.populations if p is not net.input),
        "latency_steps": net.latency,
        "lowering": net.metadata.get("lowering", {}),
    }


def _own_weight_bits(source: Source) -> int:
    """The bits that a run was trained for, else the chip's."""
    if source.run is None or source.learned:
        return 8
    return source.run.config().weight_bits


def _bundle(
    source: Source, folder: Path, chip: str | None, weight_bits: int | None
) -> dict[str, Any]:
    """Write a network that is integers already, and what runs it in Lava without neurokd."""
    from neurokd.hardware.lava_bundle import write_bundle

    if weight_bits is not None:
        raise UsageError(
            "the weights of a deployed network are what they are",
            where=source.name,
            expected="a run, a .nir file or a torch network",
            found=f"--weight-bits {weight_bits}",
        )
    net = source.network(chip)
    with atomic.folder(folder) as temporary:
        bundle = write_bundle(net, temporary)
    return {
        "target": "loihi",
        "chip": net.chip,
        "files": [str(folder / file.name) for file in bundle],
        "populations": len(net.populations),
        "neurons": sum(p.size for p in net.populations if p is not net.input),
        "latency_steps": net.latency,
        "lowering": net.metadata.get("lowering", {}),
    }


def export_netx(source: Source, folder: Path, chip: str | None = None) -> dict[str, Any]:
    """Write ``network.net`` for lava-dl, and the same network as ``network.safetensors``.

    It is another network than that of --target loihi where netx has no place for scales, exponents
    or biases of that one.
    """
    from neurokd.export.lower import chip_scales
    from neurokd.export.netx_grid import lowering_for_netx, on_netx_grid
    from neurokd.export.write_netx import netx_options, write_netx

    if chip not in (None, DEFAULT_CHIP):
        raise UsageError(
            "a netx file cannot say what the host computes for this chip",
            where="--target netx",
            expected=f"--chip {DEFAULT_CHIP}",
            found=f"--chip {chip}",
        )
    net = source.network(chip)
    if source.deployed_file is None:
        options = lowering_for_netx(net, chip_scales(net))
        if options:
            console.message(f"lowered anew for netx: {', '.join(options['scales'])}")
            net = source.lower(net.chip, **options)
    net, moved = on_netx_grid(net)
    for name, change in moved.items():
        console.message(f"{name}: biases rounded to multiples of 64, by {change} at most")
    with atomic.folder(folder) as temporary:
        write_netx(net, temporary / "network.net")
        net.save(temporary / "network.safetensors")
    arguments = netx_options(net)
    given = "".join(f", {name}={value}" for name, value in arguments.items())
    console.message(f"lava.lib.dl.netx.hdf5.Network('network.net'{given})")
    return {
        "target": "netx",
        "chip": net.chip,
        "files": [str(folder / "network.net"), str(folder / "network.safetensors")],
        "network_arguments": arguments,
        "largest_bias_change": moved,
    }


def export_onnx(
    source: Source,
    folder: Path,
    *,
    form: str | None = None,
    precision: str = "int8",
    opset: int = 20,
) -> dict[str, Any]:
    """Write ``model-PRECISION-FORM.onnx``; older files of the folder stay.

    A run that learned a stream is exported as the dense network that it learned.
    """
    from neurokd.export.onnx import to_onnx

    path = folder / onnx_name(onnx_form(source, form), precision)
    dense = source.dense
    of_steps: dict[str, Any] = {"form": form}
    if dense is None:
        of_steps |= {"steps": source.steps, "static_input": not source.calibration.events}
    report = to_onnx(
        source.graph if dense is None else dense,
        path,
        precision=precision,
        opset=opset,
        calibration=steps_first(source.calibration),
        **of_steps,
    )
    return {"target": "onnx", "files": [str(path)], **report.to_dict()}


def onnx_form(source: Source, form: str | None = None) -> str:
    """The form that an export has: dense for a network without steps."""
    return "dense" if source.learned else form or "unrolled"


def onnx_name(form: str, precision: str) -> str:
    """File name of an ONNX export."""
    return f"model-{precision}-{form}.onnx"
