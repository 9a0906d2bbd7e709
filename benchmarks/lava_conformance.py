"""Random networks in the emulator and in Lava, thousands of them: one line each, and a summary.

    python benchmarks/lava_conformance.py --networks 5000

Every network is a line of the journal; a run that was interrupted goes on behind the last one.
The journal keeps a digest of what Lava answered: ``--replay`` holds the emulator as it is now
against it, without Lava and in a fraction of the time.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "conformance"))

from lava_check import check_seed, digest, emulations
from lava_features import COMPILED, OFTEN, SOMETIMES
from lava_grammar import random_case

import neurokd
from neurokd.errors import BackendFailedError, BackendUnavailableError
from neurokd.hardware.lava_environment import lava_status
from neurokd.hardware.lava_process import LavaWorker


def read_journal(path: Path, first: int) -> list[dict[str, Any]]:
    """The lines of earlier runs from seed ``first`` on, the last of each seed."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    latest = {line["seed"]: line for line in lines if line["seed"] >= first}
    return [latest[seed] for seed in sorted(latest)]


def attempt(seed: int, worker: LavaWorker) -> dict[str, Any]:
    """The line of one network."""
    began = time.monotonic()
    try:
        outcome = check_seed(seed, worker)
    except BackendFailedError as error:
        return {"seed": seed, "failed": error.line()}
    return {
        "seed": seed,
        "features": sorted(outcome.features),
        "values": outcome.values,
        "lava": outcome.lava,
        "lava_nc": worker.lava_version,
        "refused": outcome.refused,
        "difference": outcome.difference,
        "seconds": round(time.monotonic() - began, 2),
    }


def replayed(line: dict[str, Any]) -> dict[str, Any]:
    """The line of a network with what the emulator as it is now answers."""
    if not line.get("lava"):
        return line
    runs = emulations(random_case(line["seed"])).values()
    same = {digest(run) for run in runs} == {line["lava"]}
    return line | {"difference": None if same else f"seed {line['seed']}: another answer than Lava"}


def summary(lines: list[dict[str, Any]]) -> str:
    """Markdown: what was run, with what, and how often each feature was met."""
    compared = [line for line in lines if line.get("features")]
    met = Counter(feature for line in compared for feature in line["features"])
    differing = [line["seed"] for line in compared if line["difference"]]
    failed = [line["seed"] for line in lines if "failed" in line]
    refused = sum(bool(line.get("refused")) for line in lines)
    rows = "\n".join(
        f"| {feature} | {count} | {met[COMPILED + feature] or ''} |"
        for feature, count in sorted(met.items())
        if not feature.startswith(COMPILED)
    )
    missing = sorted({*OFTEN, *SOMETIMES} - set(met))
    lava = ", ".join(sorted({line["lava_nc"] for line in compared}))
    seconds = sum(line["seconds"] for line in compared)
    integers = sum(line["values"] for line in compared)
    return f"""\
{datetime.date.today().isoformat()}: {len(compared)} networks (seeds {lines[0]["seed"]} to \
{lines[-1]["seed"]}), {integers:,} integers compared in {seconds / 60:.0f} minutes.

* differing from Lava: {differing or "none"}
* failures of Lava: {failed or "none"}
* left out, since a convolution's sum leaves 32 bits (undefined in Lava): {refused}
* of the features to be met, missing: {", ".join(missing) or "none"}
* neurokd {neurokd.__version__}, Python {platform.python_version()}, numpy {np.__version__}, \
torch {torch.__version__}; lava-nc {lava}

| met in | networks | of these on compiled kernels, too |
|---|---|---|
{rows}
"""


def extend(
    lines: list[dict[str, Any]], networks: int, first: int, journal: Path
) -> list[dict[str, Any]]:
    """The lines of further networks, until as many have been compared in all."""
    status = lava_status()
    if status.python is None or not status.available:
        raise BackendUnavailableError("no Lava", where="conformance", found=status.reason or "")
    compared = sum(bool(line.get("features")) for line in lines)
    seed = lines[-1]["seed"] + 1 if lines else first
    began, before, added = time.monotonic(), compared, []
    with LavaWorker(status.python) as worker, journal.open("a") as stream:
        while compared < networks:
            line = attempt(seed, worker)
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            added.append(line)
            seed += 1
            compared += bool(line.get("features"))
            if line.get("difference") or "failed" in line:
                print(line.get("difference") or f"seed {seed - 1}: {line['failed']}", flush=True)
            if seed % 100 == 0:
                each = (time.monotonic() - began) / max(1, compared - before)
                left = each * (networks - compared) / 60
                print(f"{compared} compared, {each:.2f} s each, {left:.0f} min left", flush=True)
    return added


def main() -> int:
    """Run, print the summary; 1 if anything differs or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=5000, help="how many are compared")
    parser.add_argument("--from", dest="first", type=int, default=0, help="first seed")
    parser.add_argument("--journal", type=Path, default=Path("lava_conformance.jsonl"))
    parser.add_argument("--summary", type=Path, help="also write the summary here")
    parser.add_argument("--replay", action="store_true", help="against the journal, without Lava")
    arguments = parser.parse_args()
    lines = read_journal(arguments.journal, arguments.first)
    if arguments.replay:
        lines = [replayed(line) for line in lines]
    else:
        lines += extend(lines, arguments.networks, arguments.first, arguments.journal)
    text = summary(lines)
    print(text)
    if arguments.summary:
        arguments.summary.write_text(text)
    return int(any(line.get("difference") or "failed" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
