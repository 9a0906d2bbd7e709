"""The emulator beside Lava's CPU backend and beside a float forward pass in snnTorch.

Run: ``python benchmarks/emulator.py [--quick] [--only NAME …]``. A row counts only if emulator and
Lava gave identical outputs (beside snnTorch: if both of the emulator's engines did). Engines take
turns, medians of the repetitions are printed. Lava's time is that of its run alone, without
building the network and starting its processes.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from emulator_networks import WORKLOADS, Workload
from pilotnet import pilotnet
from resnet20_student import resnet20

from neurokd.hardware import Run, emulate, simulate_lava
from neurokd.hardware.lava_environment import lava_status
from neurokd.hardware.lava_process import LavaWorker

ALL = {**WORKLOADS, "resnet20": resnet20, "pilotnet": pilotnet}
ACTIVITIES = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)


class Stopwatch(LavaWorker):
    """A worker that remembers how long Lava's last run took, without building."""

    run_s = float("nan")

    def request(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        answer = super().request(*arguments, **options)
        self.run_s = float(answer["run_s"])
        return answer


def medians(repeats: int, calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each call; all take turns, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def same(left: Run, right: Run) -> bool:
    """Whether two runs give the same outputs and counts."""
    return np.array_equal(left.output, right.output) and left.counts == right.counts


def activity(work: Workload, run: Run) -> str:
    """Messages per neuron and step, in per cent, of the populations but the output."""
    counts = run.counts
    return ", ".join(
        f"{100 * p.spikes / (p.neurons * counts.steps * counts.samples):.1f}"
        for name, p in counts.populations.items()
        if name != work.net.output
    )


def beside_snntorch(work: Workload, repeats: int) -> str:
    """One row: the emulator's time over that of the float forward pass, whole batches."""
    x, floats = work.x, torch.from_numpy(work.x.astype(np.float32))
    padded = work.net.padded(x)
    run = emulate(work.net, padded)
    assert same(run, emulate(work.net, padded, engine="torch")), "the engines disagree"
    with torch.inference_mode():
        agree = float((work.classes(work.twin(floats)).numpy() == run.classes).mean())
        times = medians(
            repeats,
            {
                "emulator": lambda: emulate(work.net, padded),
                "torch": lambda: emulate(work.net, padded, engine="torch"),
                "snntorch": lambda: work.twin(floats),
            },
        )
    steps = x.shape[0] * x.shape[1]
    ratio = times["emulator"] / times["snntorch"]
    verdict = "kept" if ratio <= work.snntorch_limit else "MISSED"
    return (
        f"{work.name} | {activity(work, run)} | {1e6 * times['emulator'] / steps:.2f} | "
        f"{1e6 * times['torch'] / steps:.2f} | {1e6 * times['snntorch'] / steps:.2f} | "
        f"{ratio:.2f} | {work.snntorch_limit:g} | {verdict} | {100 * agree:.1f}"
    )


def beside_lava(work: Workload, repeats: int, worker: Stopwatch, samples: int) -> str:
    """One row: Lava's time per sample and step over the emulator's, identical outputs."""
    steps, x = work.lava_steps, work.net.padded(work.x)
    part = x if steps else x[:, :samples]
    taken = steps * len(x) if steps else part.shape[0] * samples
    found = emulate(work.net, part, steps)
    identical, lava = True, []
    for _ in range(repeats):
        run = simulate_lava(work.net, part, steps, worker=worker, time_limit_s=3600)
        lava.append(worker.run_s / taken)
        identical &= same(found, run)
    batch = medians(repeats, {"emulator": lambda: emulate(work.net, x, steps)})["emulator"]
    own = batch / (taken if steps else x.shape[0] * x.shape[1])
    ratio = statistics.median(lava) / own
    verdict = "NOT IDENTICAL" if not identical else "kept" if ratio >= work.lava_limit else "MISSED"
    return (
        f"{work.name} | {1e6 * statistics.median(lava):.0f} | {1e6 * own:.2f} | {ratio:.0f} | "
        f"{work.lava_limit:g} | {verdict}"
    )


def by_activity(repeats: int) -> list[str]:
    """Rows: the emulator's time against the activity of the input."""
    rows = []
    for share in ACTIVITIES:
        works = [make(share) for make in (WORKLOADS["dense256"], WORKLOADS["conv"])]
        times = [medians(repeats, {"e": lambda w=w: emulate(w.net, w.x)})["e"] for w in works]
        runs = [emulate(w.net, w.x) for w in works]
        cells = [
            f"{1e6 * t / (w.x.shape[0] * w.x.shape[1]):.2f} | {activity(w, run)}"
            for t, w, run in zip(times, works, runs, strict=True)
        ]
        rows.append(f"{100 * share:g} | {' | '.join(cells)}")
    return rows


def main(only: list[str], repeats: int, lava_samples: int) -> bool:
    """Print the tables; whether every ratio was reached."""
    import numba
    import snntorch

    print(
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"snntorch {snntorch.__version__}, numba {numba.__version__}, numpy {np.__version__}"
    )
    works = [ALL[name]() for name in only]
    rows = []
    print("\nbeside snnTorch: µs per sample and step")
    print(
        "network | activity % | emulator | torch engine | snnTorch | ratio | limit | | same class %"
    )
    for work in works:
        if work.snntorch_limit:
            rows.append(beside_snntorch(work, repeats))
            print(rows[-1], flush=True)
    status = lava_status()
    if status.python is None:
        print(f"\nwithout Lava: {status.reason}")
    elif lava_samples:
        print(f"\nbeside Lava {status.lava}, {lava_samples} samples: µs per sample and step")
        print("network | Lava | emulator | ratio | wanted | ")
        with Stopwatch(status.python, time_limit_s=3600) as worker:
            for work in works:
                if work.lava_limit:
                    rows.append(beside_lava(work, repeats, worker, lava_samples))
                    print(rows[-1], flush=True)
    print("\nagainst the activity of the input: µs per sample and step, activities %")
    print("input % | 784-256-10 | its layers | conv | its layers")
    for row in by_activity(repeats):
        print(row, flush=True)
    return not any("MISSED" in row or "NOT" in row for row in rows)


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        names = [line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions, little of Lava")
    parser.add_argument("--only", nargs="+", choices=list(ALL), default=list(ALL))
    parser.add_argument("--no-lava", action="store_true")
    options = parser.parse_args()
    lava_samples = 0 if options.no_lava else 1 if options.quick else 4
    sys.exit(not main(options.only, 2 if options.quick else 7, lava_samples))
