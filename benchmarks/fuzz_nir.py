"""Fuzzing `read_nir`: damaged files read, or are refused by one typed error, in bounded time."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from nir_mutations import KINDS, mutate, seeds

from neurokd.errors import FileFormatError, UnsupportedNodeError
from neurokd.export.read_nir import read_nir

WATCHDOG_SECONDS = 5.0
MAX_EXTRA_MB = 300.0
DEFAULT_FILES = 12_000


def attempt(path: Path) -> str:
    """``accepted``, ``refused``, or what else came out of `read_nir`."""
    try:
        read_nir(path)
    except (FileFormatError, UnsupportedNodeError) as error:
        return "refused" if str(path) in error.line() else f"no file named: {error}"
    except BaseException as error:
        return f"untyped: {type(error).__name__}: {error}"
    return "accepted"


def originals_in(folder: Path) -> list[bytes]:
    """The seeds as bytes."""
    contents = []
    for i, graph in enumerate(seeds()):
        nir.write(folder / f"seed{i}.nir", graph)
        contents.append((folder / f"seed{i}.nir").read_bytes())
        assert attempt(folder / f"seed{i}.nir") == "accepted"
    return contents


# Workers: one process each, an index in, a line of JSON out


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def work() -> None:
    """Answer each index on stdin with the outcome, its seconds and the memory above the start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        originals = originals_in(folder)
        baseline = _peak_mb()
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            path = folder / "damaged.nir"
            kind = mutate(path, int(line), originals)
            before = _peak_mb()
            start = time.perf_counter()
            outcome = attempt(path)
            answer = {
                "kind": kind,
                "outcome": outcome,
                "seconds": time.perf_counter() - start,
                "extra_mb": _peak_mb() - baseline,
                "grew_mb": _peak_mb() - before,
            }
            print(json.dumps(answer), flush=True)


@dataclass
class Tally:
    """What all workers found."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    extra_mb: float = 0.0
    slowest: tuple[float, int, str] = (0.0, -1, "")
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, index: int, answer: dict[str, Any]) -> None:
        with self.lock:
            outcome = answer["outcome"]
            short = outcome.split(":")[0]
            self.outcomes.setdefault(answer["kind"], Counter())[short] += 1
            self.extra_mb = max(self.extra_mb, answer.get("extra_mb", 0.0))
            self.slowest = max(self.slowest, (answer.get("seconds", 0.0), index, answer["kind"]))
            if short not in ("accepted", "refused"):
                self.violations.append(f"file {index} ({answer['kind']}): {outcome}")


def _spawn() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-u", __file__, "--worker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise SystemExit("a worker did not start")
    return process


def _serve(indices: range, tally: Tally) -> None:
    process = _spawn()
    for index in indices:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{index}\n".encode())
        # twice the limit: making the file takes time, too, and the worker times reading itself
        answered = select.select([process.stdout], [], [], 2 * WATCHDOG_SECONDS)[0]
        line = process.stdout.readline() if answered else b""
        if line:
            answer = json.loads(line)
            if answer["seconds"] > WATCHDOG_SECONDS:
                answer["outcome"] = f"hang: {answer['seconds']:.1f} s"
            tally.add(index, answer)
            continue
        outcome = f"crash: status {process.wait()}" if answered else "hang: killed"
        process.kill()
        process.wait()
        tally.add(index, {"kind": "unknown", "outcome": outcome})
        process = _spawn()
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def fuzz(files: int, workers: int = 2, start: int = 0) -> Tally:
    """Read ``files`` damaged files in worker processes."""
    tally = Tally()
    threads = [
        threading.Thread(target=_serve, args=(range(start + i, start + files, workers), tally))
        for i in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def report(tally: Tally, seconds: float) -> list[str]:
    """The table, and a line for everything that should not have happened."""
    columns = ("accepted", "refused", "untyped", "no file named", "crash", "hang")
    lines = ["| damage | files | " + " | ".join(columns) + " |", "|---|" + "---:|" * 7]
    total: Counter[str] = Counter()
    for kind in sorted(tally.outcomes, key=(*KINDS, "unknown").index):
        counts = tally.outcomes[kind]
        total += counts
        cells = [f"{counts.total():,}", *(f"{counts[c]:,}" for c in columns)]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    cells = [f"{total.total():,}", *(f"{total[c]:,}" for c in columns)]
    lines.append("| **all** | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"peak memory above the start: {tally.extra_mb:.0f} MB (limit {MAX_EXTRA_MB:.0f}); "
        f"slowest file: {tally.slowest[0]:.2f} s (file {tally.slowest[1]}, {tally.slowest[2]}; "
        f"limit {WATCHDOG_SECONDS:.0f}); {seconds:.0f} s in all",
        f"Python {platform.python_version()}, nir {nir.version}, h5py {h5py.__version__}, "
        f"HDF5 {h5py.version.hdf5_version}, numpy {np.__version__}",
        *tally.violations[:40],
    ]
    return lines


def main() -> int:
    """Print the table; status 1 if a file crashed, hung, was untyped, or took too much memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=DEFAULT_FILES)
    parser.add_argument("--start", type=int, default=0, help="index of the first file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work()
        return 0
    begun = time.perf_counter()
    tally = fuzz(options.files, options.workers, options.start)
    print("\n".join(report(tally, time.perf_counter() - begun)))
    return int(bool(tally.violations) or tally.extra_mb > MAX_EXTRA_MB)


if __name__ == "__main__":
    raise SystemExit(main())
