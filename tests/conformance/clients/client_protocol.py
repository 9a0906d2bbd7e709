"""What both clients do with their command line: `run FOLDER` answers, `write FOLDER` writes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

Answer = Callable[[Path, torch.Tensor], torch.Tensor]


def serve(answer: Answer, write: Callable[[Path], None]) -> None:
    """Do what the command line asks for."""
    verb, folder = sys.argv[1], Path(sys.argv[2])
    if verb == "run":
        _run(folder, answer)
    elif verb == "write":
        write(folder)
    else:
        sys.exit(f"run or write, not {verb!r}")


def _run(folder: Path, answer: Answer) -> None:
    for path in sorted(folder.glob("*.nir")):
        with np.load(path.with_suffix(".npz")) as data:
            x = torch.from_numpy(data["x"])
        try:
            with torch.no_grad():
                spikes = answer(path, x)
        except Exception as error:  # whatever it answers is what is measured
            first = next(iter(str(error).strip().splitlines()), "")
            path.with_suffix(".answer.txt").write_text(f"{type(error).__name__}: {first}")
        else:
            np.savez(path.with_suffix(".answer.npz"), spikes=spikes.numpy())
