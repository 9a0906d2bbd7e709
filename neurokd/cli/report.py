"""`neurokd report`: one self-contained HTML file about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurokd.cli import console
from neurokd.cli.options import Json
from neurokd.run import RunFolder, newest_run


def run(
    folder: Annotated[
        Path | None,
        typer.Argument(help="A run folder; without it the newest run under runs/.", metavar="RUN"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Write one self-contained HTML file about a run."""
    from neurokd.report import write_report

    if folder is None:
        chosen = newest_run()
        console.message(f"source: {chosen.path}")
    else:
        chosen = RunFolder(folder)
        chosen.any_config()
    path = write_report(chosen.path)
    if as_json:
        console.result_json({"report": str(path)})
    else:
        console.result(str(path))
    return 0
