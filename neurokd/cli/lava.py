"""`neurokd lava`: the environment that runs Lava."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from neurokd.cli import console
from neurokd.cli.options import Json


class Action(str, Enum):
    """What to do about Lava's environment."""

    install = "install"
    status = "status"


def run(
    action: Annotated[Action, typer.Argument(help="install builds it, status looks for it.")],
    as_json: Json = False,
) -> int:
    """Install, or look for, the environment that runs Lava."""
    from neurokd.hardware.lava_environment import install_lava, lava_status

    if action is Action.install:
        status = install_lava(progress=_show)
    else:
        status = lava_status()
    if as_json:
        console.result_json(status.to_dict())
    elif status.available:
        console.result(f"Lava {status.lava} is available: {status.python}")
    else:
        console.result(f"Lava is not available: {status.reason}")
    return 0


def _show(line: str) -> None:
    """A step of the installation; pip's warnings are left out, its errors come as one line."""
    if not line.startswith("WARNING:"):
        console.message(line)
