"""The conformance matrix: what each client answers for each network, beside our reference.

`.venv/bin/python tests/conformance/conformance_matrix.py` measures it and writes
docs/conformance.md; `make test` measures it again and compares.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from conformance_cases import Case, cases
from conformance_margins import smallest_margin

from neurokd.export import read_nir, simulate_nir, write_nir
from neurokd.export.nir_profile import PROFILES, with_profile
from neurokd.export.simulate_nir import NIRRun

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "conformance.md"
CLIENTS = {"spikingjelly": "2.0.0", "norse": "1.1.0"}
TIME_LIMIT_S = 300


@dataclass(frozen=True)
class Row:
    """A network's answers, by client and profile, and what the reference says of it."""

    case: Case
    spikes: int
    slots: int
    margin: float
    answers: dict[tuple[str, str], str]


def environment() -> ModuleType:
    """.ci/environment.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("ci_environment", ROOT / ".ci" / "environment.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_client(client: str, python: Path, verb: str, folder: Path) -> None:
    """One process of a client for all files in a folder."""
    script = Path(__file__).parent / "clients" / f"{client}_client.py"
    command = [str(python), "-I", str(script), verb, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    if done.returncode:
        raise RuntimeError(f"{client} {verb} ended with {done.returncode}:\n{done.stderr[-2000:]}")


def measure(pythons: dict[str, Path], folder: Path) -> list[Row]:
    """Write every network in both profiles, let both clients run it, compare."""
    found = cases()
    runs: dict[tuple[int, str], NIRRun] = {}
    margins: dict[int, float] = {}
    for index, case in enumerate(found):
        for profile in PROFILES:
            path = folder / f"{index:02}-{profile}.nir"
            write_nir(with_profile(case.graph, profile, steps=len(case.x)), path)
            graph = read_nir(path)
            runs[index, profile] = run = simulate_nir(graph, case.x)
            np.savez(path.with_suffix(".npz"), x=case.x)
            if profile in case.readers.values():
                margins[index] = min(margins.get(index, np.inf), smallest_margin(graph, run))
    answers: dict[tuple[int, str, str], str] = {}
    for client, python in pythons.items():
        run_client(client, python, "run", folder)
        for index, profile in runs:
            path = folder / f"{index:02}-{profile}.nir"
            answers[index, client, profile] = compare(path, runs[index, profile].output)
            for suffix in (".answer.npz", ".answer.txt"):
                path.with_suffix(suffix).unlink(missing_ok=True)
    return [
        Row(
            case=case,
            spikes=int(np.count_nonzero(runs[index, "snntorch"].output)),
            slots=runs[index, "snntorch"].output.size,
            margin=margins.get(index, float("nan")),
            answers={(c, p): answers[index, c, p] for c in pythons for p in PROFILES},
        )
        for index, case in enumerate(found)
    ]


def compare(path: Path, expected: np.ndarray) -> str:
    """`0`, the number of output slots that differ, or what the client said instead."""
    said = path.with_suffix(".answer.txt")
    if said.exists():
        return said.read_text()
    with np.load(path.with_suffix(".answer.npz")) as data:
        spikes = data["spikes"]
    if spikes.size != expected.size:
        return f"an output of {spikes.size} values for {expected.size}"
    # of spikes every difference is 1; a readout is compared to what float32 leaves of it
    different = int(np.count_nonzero(np.abs(spikes.reshape(expected.shape) - expected) > 1e-5))
    return str(different) + (" (it never fires)" if different and not spikes.any() else "")


def page(rows: list[Row]) -> str:
    """docs/conformance.md."""
    columns = [(client, profile) for client in CLIENTS for profile in PROFILES]
    lines = [
        "# Conformance",
        "",
        "Each network is written by `write_nir` in both profiles and run by "
        + " and ".join(f"{client} {version}" for client, version in CLIENTS.items())
        + " (nir 1.0.8, torch 2.13.0, dt = 1e-4 s) and by `simulate_nir` on the same input. "
        "A cell is the number of output slots that differ, or the first line of what the client "
        "answers instead. **Bold**: the client supports the network in this profile; its answer "
        "has to be 0, and no membrane of the reference is nearer than 1e-6 to its threshold.",
        "",
        "Written by `.venv/bin/python tests/conformance/conformance_matrix.py`; `make test` "
        "measures it again and compares.",
        "",
        "| network | spikes / slots | " + " | ".join(f"{c}, {p}" for c, p in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for row in rows:
        cells = [_cell(row, client, profile) for client, profile in columns]
        lines.append(
            f"| {row.case.name} | {row.spikes} / {row.slots} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines) + "\n"


def _cell(row: Row, client: str, profile: str) -> str:
    if client in row.case.erratic:
        return f"changes from run to run: {row.case.erratic[client]}"
    text = row.answers[client, profile].replace("|", "\\|")
    if row.case.readers.get(client) == profile:
        return f"**{text}**"
    return text if text[0].isdigit() or text.startswith("an output") else f"`{text}`"


def main() -> None:
    """Measure and write the page."""
    from neurokd.atomic import write_bytes

    build = environment().client_environment
    with tempfile.TemporaryDirectory() as folder:
        rows = measure({client: build(client) for client in CLIENTS}, Path(folder))
    for row in rows:
        print(
            row.case.name, row.spikes, row.slots, f"{row.margin:.1e}", row.answers, file=sys.stderr
        )
    write_bytes(PAGE, page(rows).encode())


if __name__ == "__main__":
    main()
