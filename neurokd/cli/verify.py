"""`neurokd verify`: does the deployed network answer as the trained one does?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurokd import atomic
from neurokd.cli import console
from neurokd.cli.export import export_onnx, onnx_form, onnx_name
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
from neurokd.errors import UsageError
from neurokd.hardware.network import DeployedNetwork

if TYPE_CHECKING:
    from neurokd.verify import Verdict

DOES_NOT_HOLD = 1


def run(
    source: SourceArgument = None,
    data: Data = None,
    chip: Chip = None,
    backends: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: emulator, lava, onnx; else all that the network has.",
            metavar="LIST",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest difference in accuracy from the student.")
    ] = 0.005,
    samples: Samples = None,
    lava_samples: Annotated[int, typer.Option(help="Samples that run on Lava.", metavar="N")] = 50,
    steps: Steps = None,
    weights: Weights = None,
    sample_shape: SampleShape = None,
    as_json: Json = False,
) -> int:
    """Does the deployed network answer as the trained one does?"""
    origin = resolve(source, data=data, weights=weights, sample_shape=sample_shape, steps=steps)
    chosen = _backends(origin, backends)
    verdict = verify_source(
        origin,
        None if _dense(origin, chosen) else origin.network(chip),
        chosen,
        tolerance=tolerance,
        samples=samples,
        lava_samples=lava_samples,
    )
    if as_json:
        console.result_json(verdict.to_dict())
    else:
        print_verdict(verdict)
    return 0 if verdict.holds else DOES_NOT_HOLD


def _backends(source: Source, named: str | None) -> list[str]:
    """The backends named, else those that the source has."""
    if named is not None:
        chosen = [name.strip() for name in named.split(",")]
    elif source.learned is None:
        chosen = ["emulator", "lava", "onnx"]
    else:
        chosen = ["onnx"] if source.learned.config.spiking is None else ["emulator", "lava"]
    if source.learned and len(set(chosen)) > 1 and "onnx" in chosen:
        raise UsageError(
            "these are two networks: a chip runs the spiking student, ONNX the dense network",
            where="--backends",
            expected="onnx, or emulator,lava",
            found=",".join(chosen),
            remedy="verify them one after the other",
        )
    return chosen


def _dense(source: Source, backends: Sequence[str]) -> bool:
    """Whether a network without steps is verified, which no chip runs."""
    return source.learned is not None and set(backends) == {"onnx"}


def verify_source(
    source: Source,
    net: DeployedNetwork | None,
    backends: Sequence[str],
    *,
    tolerance: float = 0.005,
    samples: int | None = None,
    lava_samples: int = 50,
) -> Verdict:
    """Verify on the chosen backends; a run keeps the verdict as ``verdict.json``, that of a dense
    network, without ``net``, as ``verdict-onnx.json``."""
    from neurokd.verify import verify

    with tempfile.TemporaryDirectory() as scratch, console.phases() as tell:
        verdict = verify(
            source.dense if net is None else source.reference(),
            net,
            source.data if net is None else source.for_chip(source.data.first(samples)),
            backends,
            tolerance=tolerance,
            samples=samples,
            lava_samples=lava_samples,
            onnx=_onnx(source, Path(scratch)) if "onnx" in backends else None,
            steps=None if net is None else source.steps,
            progress=tell,
        )
    if source.run:
        text = json.dumps(verdict.to_dict(), indent=1) + "\n"
        name = "verdict-onnx.json" if net is None else "verdict.json"
        atomic.write_text(source.run.path / name, text)
    return verdict


def print_verdict(verdict: Verdict) -> None:
    """The verdict as a table and a sentence."""
    headers, *rows = verdict.table()
    console.result(console.table(rows, headers))
    identity = verdict.identity
    if identity is not None:
        said = "identical" if identity.identical else f"NOT identical: {identity.first_divergence}"
        console.result(
            f"{identity.backend} against {identity.against}: {identity.compared:,} values of "
            f"{', '.join(identity.variables)} compared, {said}"
        )
    console.result("verdict: holds" if verdict.holds else "verdict: DOES NOT HOLD")


def _onnx(source: Source, scratch: Path) -> Path:
    """The int8 model: the run's export where it is as new as the weights, else a new one."""
    if source.deployed_file:
        raise UsageError(
            "a deployed network has no ONNX form yet",
            where=source.name,
            remedy="verify the run it came from, or use --backends emulator,lava",
        )
    exported = source.folder / "onnx" / onnx_name(onnx_form(source), "int8")
    if source.run and exported.is_file():
        if exported.stat().st_mtime_ns >= source.run.weights.stat().st_mtime_ns:
            return exported
        console.message(f"{exported} is older than the weights; the network is exported anew")
    return Path(export_onnx(source, scratch)["files"][0])
