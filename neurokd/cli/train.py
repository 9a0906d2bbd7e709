"""`neurokd train`: a spiking student, distilled from a teacher if its configuration says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurokd.cli import console
from neurokd.cli.options import Json
from neurokd.cli.run_place import place
from neurokd.config import TrainConfig, read_config
from neurokd.errors import UsageError
from neurokd.run import RunFolder, configured_model, load_state, read_weights

if TYPE_CHECKING:
    from torch import nn

TEACHER = "teacher"
"""Where a run keeps the teacher that was trained for it."""


def run(
    config: Annotated[str, typer.Argument(help="A preset's name or a TOML file.")],
    teacher: Annotated[
        Path | None,
        typer.Option(help="A trained teacher: its run, or its weights.", metavar="RUN|FILE"),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override a value; `neurokd presets CONFIG` prints all keys.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder, else runs/CONFIG.", metavar="RUN")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    as_json: Json = False,
) -> int:
    """Train a spiking student, by distillation if it has a teacher.

    Without --teacher, the teacher that the configuration names is trained first, into RUN/teacher.
    A FILE of weights needs that configuration, too: it says which network they are of.
    """
    resolved = read_config(config, overrides or ())
    require_role(resolved, "student", config)
    folder = place(Path(config).stem, out, resume)
    guide = (
        teacher_for(resolved, teacher, folder, resume) if needs_teacher(resolved, teacher) else None
    )
    begun = resume and folder.checkpoint.is_file()
    source = str(teacher) if teacher else TEACHER
    train_run(resolved, folder, "student", teacher=guide, teacher_source=source, resume=begun)
    if resolved.qat:
        export_deployed(folder)
    answer(folder, as_json)
    return 0


def export_deployed(folder: RunFolder) -> None:
    """Leave the network that was trained in the deployed integers in ``RUN/loihi``."""
    from neurokd.cli.export import export_loihi
    from neurokd.cli.source import DEFAULT_CHIP, Source

    export_loihi(Source(str(folder.path), run=folder), folder.path / "loihi", DEFAULT_CHIP)


def needs_teacher(config: TrainConfig, teacher: Path | None) -> bool:
    """Whether a teacher takes part; `UsageError` for one that nobody listens to."""
    if teacher is not None and config.distill is None:
        raise UsageError(
            "a teacher was given to a configuration without distillation",
            where="--teacher",
            found=str(teacher),
            remedy="remove it, or add --set distill.samd=1",
        )
    return config.distill is not None


def teacher_for(
    config: TrainConfig, teacher: Path | None, folder: RunFolder, resume: bool = False
) -> nn.Module:
    """The run given, the weights given for the teacher that the configuration names, or that
    teacher, trained into ``RUN/teacher``."""
    if teacher is not None and not teacher.is_file():
        run_folder = RunFolder(teacher)
        if run_folder.config().role != "teacher":
            raise UsageError(
                "this run trained a student",
                where=f"--teacher {teacher}",
                expected="the run of a dense teacher",
                remedy="`neurokd teach` makes one",
            )
        return run_folder.load_model()
    if config.teacher is None:
        raise UsageError(
            "this configuration distils, and no teacher is named",
            where="teacher",
            remedy="give --teacher RUN (`neurokd teach` makes one); weights alone need "
            "--set teacher=CONFIG, too, which says what network they are of",
        )
    own = RunFolder(folder.path / TEACHER)
    if resume and own.weights.is_file():
        return own.load_model()
    inherited = [f"seed={config.seed}", f"data={json.dumps(config.data)}"]
    inherited += [f"device={config.device}", f"devices={config.devices}"]
    if config.samples is not None:
        inherited.append(f"samples={config.samples}")
    lesson = read_config(config.teacher, inherited)
    require_role(lesson, "teacher", config.teacher)
    if teacher is not None:
        model = configured_model(lesson)
        load_state(model, read_weights(teacher), teacher)
        return model
    return train_run(lesson, own, "teacher", resume=resume and own.checkpoint.is_file())


def own_teacher(folder: RunFolder) -> nn.Module:
    """The teacher that a run trained for itself; `UsageError` if it had another one."""
    own = RunFolder(folder.path / TEACHER)
    if not own.weights.is_file():
        raise UsageError(
            "the run was distilled from a teacher that is not part of it",
            where=str(folder.path),
            expected=str(own.weights),
            remedy="give --teacher RUN",
        )
    require_role(own.config(), "teacher", str(own.path))
    return own.load_model()


def train_run(
    config: TrainConfig,
    folder: RunFolder,
    label: str,
    *,
    teacher: nn.Module | None = None,
    teacher_source: str | None = None,
    resume: bool = False,
) -> nn.Module:
    """`neurokd.training.train` under a progress bar."""
    from neurokd.training import train

    with console.steps(label) as tell:
        return train(
            config,
            folder,
            teacher=teacher,
            teacher_source=teacher_source,
            resume=resume,
            progress=tell,
        )


def require_role(config: TrainConfig, role: str, where: str) -> None:
    """Raise `UsageError` for the configuration of the other kind of network."""
    if config.role != role:
        remedy = {
            "student": "`neurokd teach` trains teachers",
            "teacher": "`neurokd train` trains students",
        }
        raise UsageError(
            f"this is not the configuration of a {role}",
            where=where,
            expected=f'role = "{role}"',
            found=f'role = "{config.role}"',
            remedy=remedy[role],
        )


def answer(folder: RunFolder, as_json: bool) -> None:
    """Say how the training ended."""
    test = folder.test_row()
    if as_json:
        console.result_json(
            {"run": str(folder.path), "test_accuracy": test["accuracy"], "epochs": test["epoch"]}
        )
    else:
        console.result(
            f"{folder.path}: test accuracy {test['accuracy']:.2%} after {test['epoch']} epochs"
        )
