"""`neurokd teach`: a dense teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokd.cli.options import Json
from neurokd.cli.run_place import place
from neurokd.cli.train import answer, require_role, train_run
from neurokd.config import read_config


def run(
    config: Annotated[str, typer.Argument(help="A preset's name or a TOML file.")],
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
    """Train a dense teacher."""
    resolved = read_config(config, overrides or ())
    require_role(resolved, "teacher", config)
    folder = place(Path(config).stem, out, resume)
    train_run(resolved, folder, "teacher", resume=resume)
    answer(folder, as_json)
    return 0
