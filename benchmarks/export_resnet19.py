"""Export of the ResNet-19 student: time and peak memory of `trace` and `write_nir`.

Run: ``python benchmarks/export_resnet19.py``. Linux only: the memory is that of the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MAX_SECONDS = 20.0
MAX_RATIO = 4.0
"""Peak memory above that of the process with the model in it, over the model's own size."""


@dataclass(frozen=True)
class Measured:
    """One export in a process of its own; memory in bytes, above the process holding the model."""

    parameters: int
    model_bytes: int
    trace_s: float
    trace_peak_bytes: int
    write_s: float
    peak_bytes: int
    file_bytes: int

    @property
    def seconds(self) -> float:
        """Trace and write together."""
        return self.trace_s + self.write_s

    @property
    def ratio(self) -> float:
        """Peak memory over the model's size."""
        return self.peak_bytes / self.model_bytes


def export(path: Path) -> Measured:
    """Build the student, trace it and write it, here and now."""
    import torch

    from neurokd.export import trace, write_nir
    from neurokd.models import build_model

    torch.manual_seed(0)
    model = build_model("resnet19", spiking=True).eval()
    sample = torch.rand(1, 3, 32, 32)
    tensors = [*model.parameters(), *model.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    before = _resident_bytes()
    _forget_peak()
    start = time.perf_counter()
    graph = trace(model, sample, steps=4)
    traced = time.perf_counter()
    trace_peak = _peak_bytes() - before
    write_nir(graph, path)
    written = time.perf_counter()
    return Measured(
        parameters=sum(p.numel() for p in model.parameters()),
        model_bytes=size,
        trace_s=traced - start,
        trace_peak_bytes=trace_peak,
        write_s=written - traced,
        peak_bytes=_peak_bytes() - before,
        file_bytes=path.stat().st_size,
    )


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _forget_peak() -> None:
    """Without it an earlier, higher peak stands for the export's: never too low a figure."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        print("the peak of importing could not be reset", file=sys.stderr)


def _peak_bytes() -> int:
    """The largest resident size so far; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_a_process_of_its_own(path: Path) -> Measured:
    """Another export's leftovers, and Python's own, would count otherwise."""
    command = [sys.executable, __file__, "--child", str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Measured(**json.loads(done.stdout))


def main(repeat: int = 3) -> bool:
    """Print the table; whether every run keeps both bounds."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [in_a_process_of_its_own(Path(folder) / "student.nir") for _ in range(repeat)]
    first = runs[0]
    import nir
    import numpy
    import torch

    print(
        f"ResNet-19 student, {first.parameters:,} parameters, {first.model_bytes / 1e6:.1f} MB; "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {numpy.__version__}, nir {nir.__version__}"
    )
    print("run | trace s | write s | sum s | trace peak MB | peak MB | peak / model | file MB")
    for number, run in enumerate(runs, start=1):
        print(
            f"{number} | {run.trace_s:.2f} | {run.write_s:.2f} | {run.seconds:.2f} | "
            f"{run.trace_peak_bytes / 1e6:.1f} | {run.peak_bytes / 1e6:.1f} | {run.ratio:.2f} | "
            f"{run.file_bytes / 1e6:.1f}"
        )
    kept = all(run.seconds <= MAX_SECONDS and run.ratio <= MAX_RATIO for run in runs)
    print(f"bounds: {MAX_SECONDS:g} s, {MAX_RATIO:g} × the model: {'kept' if kept else 'MISSED'}")
    return kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(asdict(export(options.child))))
    else:
        sys.exit(not main(options.repeat))
