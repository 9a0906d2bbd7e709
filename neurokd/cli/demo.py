"""`neurokd demo`: the whole path, from training to verdict, on the packaged MNIST subset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from neurokd.cli import console
from neurokd.cli.export import export_loihi, export_nir, export_onnx
from neurokd.cli.options import Json
from neurokd.cli.profile import profile_source
from neurokd.cli.run_place import place
from neurokd.cli.source import DEFAULT_CHIP, Source
from neurokd.cli.train import TEACHER, teacher_for, train_run
from neurokd.cli.verify import DOES_NOT_HOLD, print_verdict, verify_source
from neurokd.config import read_config
from neurokd.hardware.lava_environment import lava_status
from neurokd.run import RunFolder
from neurokd.training.finetune_run import finetune_run

STUDENT, ALONE = "mnist-student", "mnist-student-alone"
LAVA_SAMPLES = 50
TRAINING_SAMPLES = 1000
TOLERANCE = 0.005
"""Loss of accuracy on training samples from which the student is fine-tuned."""


def run(
    out: Annotated[Path | None, typer.Option(help="The run folder.", metavar="RUN")] = None,
    no_lava: Annotated[bool, typer.Option("--no-lava", help="Leave Lava out.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of all three trainings.")] = 0,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a value of the students.", metavar="KEY=VALUE"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Walk the whole path, from training to verdict, on the packaged MNIST subset."""
    started = time.monotonic()
    folder = place("demo", out, resume=False)
    values = [f"seed={seed}", *(overrides or ())]
    config, alone = read_config(STUDENT, values), read_config(ALONE, values)
    lava = _lava(no_lava)

    console.message("1 a dense teacher, and a spiking student distilled from it")
    teacher = teacher_for(config, None, folder)
    train_run(config, folder, "student", teacher=teacher, teacher_source=TEACHER)
    console.message("2 the same student without a teacher, same seed and budget")
    baseline = RunFolder(folder.path / "baseline")
    train_run(alone, baseline, "student alone")

    console.message("3 export to NIR, Loihi 2 and int8 ONNX")
    source = Source(str(folder.path), run=folder)
    deployed = export_loihi(source, folder.path / "loihi", DEFAULT_CHIP)
    lost = training_loss(source)
    if abs(lost) > TOLERANCE:
        console.message(
            f"  the integers cost {100 * lost:.1f} points of training accuracy; "
            "fine-tuning with quantisation in the loop"
        )
        with console.steps("fine-tuning") as tell:
            finetune_run(folder, teacher, config.weight_bits, DEFAULT_CHIP, progress=tell)
        source = Source(str(folder.path), run=folder)
        deployed = export_loihi(source, folder.path / "loihi", DEFAULT_CHIP)
    export_nir(source, folder.path / "nir")
    export_onnx(source, folder.path / "onnx")

    console.message("4 spikes, synaptic operations, energy and latency")
    net = source.network()
    profiled = profile_source(source, net, source.data)

    console.message("5 verdict: does the deployed network answer as the trained one does?")
    backends = ["emulator", "lava", "onnx"] if lava else ["emulator", "onnx"]
    verdict = verify_source(source, net, backends, lava_samples=LAVA_SAMPLES)

    from neurokd.report import write_report

    report = write_report(folder.path)
    accuracies = {
        "teacher": RunFolder(folder.path / "teacher").test_row()["accuracy"],
        "student": folder.test_row()["accuracy"],
        "student_alone": baseline.test_row()["accuracy"],
    }
    if as_json:
        console.result_json(
            {
                "run": str(folder.path),
                "seconds": round(time.monotonic() - started, 1),
                "test_accuracy": accuracies,
                "neurons": deployed["neurons"],
                "energy_pj": profiled["energy_pj"],
                "verdict": verdict.to_dict(),
            }
        )
    else:
        _print(accuracies, profiled)
        print_verdict(verdict)
        _files(folder.path, report, time.monotonic() - started)
    return 0 if verdict.holds else DOES_NOT_HOLD


def training_loss(source: Source) -> float:
    """Accuracy that the integers cost, on training samples: the test set decides nothing."""
    from neurokd.data import load_data
    from neurokd.verify import verify

    assert source.run is not None
    config = source.run.config()
    data = load_data(config.data, "train", steps=config.steps).first(TRAINING_SAMPLES)
    with console.phases() as tell:
        verdict = verify(source.reference(), source.network(), data, ["emulator"], progress=tell)
    difference = next(row.difference for row in verdict.rows if row.backend == "emulator")
    return -float(difference or 0.0)


def _lava(no_lava: bool) -> bool:
    """Whether Lava takes part; said plainly where it does not."""
    if no_lava:
        console.message("Lava is left out, as asked")
        return False
    status = lava_status()
    if not status.available:
        console.message(f"Lava is left out: {status.reason}; `neurokd lava install` sets it up")
    return status.available


def _print(accuracies: dict[str, float], profiled: dict[str, Any]) -> None:
    gain = 100 * (accuracies["student"] - accuracies["student_alone"])
    console.result(
        f"test accuracy: teacher {accuracies['teacher']:.2%}, student {accuracies['student']:.2%}, "
        f"the same student without distillation {accuracies['student_alone']:.2%} "
        f"(distillation gave {gain:+.2f} points at this seed)"
    )
    low, nominal, high = console.band(profiled["energy_pj"], 1e6)
    console.result(f"energy estimate: {nominal} µJ a sample ({low} … {high})")
    low, nominal, high = console.band(profiled["latency_us"])
    console.result(
        f"latency estimate: {nominal} µs ({low} … {high}); grade of the chip's constants: "
        f"{profiled['latency_grade']}\n"
    )


def _files(folder: Path, report: Path, seconds: float) -> None:
    console.result(f"\n{seconds:.0f} s; look at:")
    for path, what in (
        (report, "curves, raster, energy, verdict; open it in a browser"),
        (folder / "nir" / "network.nir", "the network for any NIR framework"),
        (
            folder / "loihi" / "network.safetensors",
            "the integer network, `neurokd inspect` reads it",
        ),
        (folder / "onnx", "the int8 ONNX model"),
        (folder / "verdict.json", "the verdict, for machines"),
    ):
        console.result(f"  {path}  {what}")
