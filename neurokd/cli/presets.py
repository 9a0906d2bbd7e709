"""`neurokd presets`: the shipped configurations."""

from __future__ import annotations

from importlib import resources

from neurokd.cli import console
from neurokd.cli.options import Json
from neurokd.config import preset_names, read_config


def run(as_json: Json = False) -> int:
    """The shipped configurations, a line each."""
    rows = []
    for name in preset_names():
        text = (resources.files("neurokd") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
        rows.append((name, read_config(name).role, text.splitlines()[0].lstrip("# ")))
    if as_json:
        keys = ("name", "role", "summary")
        console.result_json({"presets": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        console.result(console.table(rows, ("name", "role", "what it is")))
    return 0
