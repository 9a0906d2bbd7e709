"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        help="A run folder, a .nir or .net file, a deployed .safetensors, or "
        "package.module:factory; without it the newest run under runs/."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="A data set's name with an optional split (mnist:test), or an .npz with x and y; "
        "without it the test split that the run was trained with."
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="Weights for package.module:factory.", metavar="FILE")
]
SampleShape = Annotated[
    str | None,
    typer.Option(help="Shape of one sample for package.module:factory.", metavar="1,28,28"),
]
Samples = Annotated[int | None, typer.Option(help="Only the first N samples.", metavar="N")]
Steps = Annotated[int | None, typer.Option(help="Input steps T.", metavar="T")]
Chip = Annotated[str | None, typer.Option(help="loihi1 or loihi2.", metavar="CHIP")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
