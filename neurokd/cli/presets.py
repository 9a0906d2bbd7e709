"""`neurokd presets`: the shipped configurations, and every key that one has."""

from __future__ import annotations

from typing import Annotated

import typer

from neurokd.cli import console
from neurokd.cli.options import Json
from neurokd.config import described_config, preset_names, preset_summary, read_any_config
from neurokd.errors import UsageError


def run(
    config: Annotated[
        str | None,
        typer.Argument(help="A preset's name or a TOML file: printed with every key it has."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a value of it.", metavar="KEY=VALUE"),
    ] = None,
    as_json: Json = False,
) -> int:
    """The shipped configurations, or one of them in full.

    What is printed for one is TOML: every key that --set takes, what it does, its value. Keep it in
    a file, change it, and give the file's name to teach, train or continual.
    """
    if config is not None:
        resolved = read_any_config(config, overrides or ())
        if as_json:
            console.result_json(resolved.model_dump(mode="json"))
        else:
            console.result(described_config(resolved).rstrip())
        return 0
    if overrides:
        raise UsageError("--set is for one configuration", remedy="name a preset or a TOML file")
    rows = [(name, read_any_config(name).role, preset_summary(name)) for name in preset_names()]
    if as_json:
        keys = ("name", "role", "summary")
        console.result_json({"presets": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        console.result(console.table(rows, ("name", "role", "what it is")))
    return 0
