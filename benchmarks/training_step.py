"""A training step, forward and backward, beside snnTorch and spikingjelly.

Run: ``python benchmarks/training_step.py [--quick]``. Every row is the same network with the same
weights, batch, steps and surrogate; the peers take turns with ours, and medians of the ratios of
neighbours are printed. spikingjelly runs in its own environment (``.ci/environment.py``), in a
process that waits while others have their turn. snntorch-kept is snnTorch in a process that keeps
freed memory as our training does. Peak memory is a process's largest resident size during its
second step less its size before it, with freed memory given back.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
BETA, THRESHOLD, BATCH, GAIN = 0.5, 1.0, 64, 4.0
EPOCH_STEPS = 60_000 // BATCH
"""Steps of an epoch over 60,000 samples, as many as MNIST has; what compilation is shared among."""
LIMITS = {
    ("conv", "snntorch"): 0.70,
    ("conv", "spikingjelly"): 0.60,
    ("mlp", "snntorch"): 0.20,
    ("mlp", "compiled"): 1.0,
}
STEPS = {"conv": 4, "mlp": 50}
Step = Callable[[], Tensor]


def layers(name: str) -> list[nn.Module]:
    """The layers before each group of neurons, with the same weights in every framework."""
    torch.manual_seed(0)
    made: list[Any] = (
        [nn.Linear(256, 256), nn.Linear(256, 256)]
        if name == "mlp"
        else [nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 32), (32, 64), (64, 64))]
    )
    for layer in made:
        layer.weight.data *= GAIN  # so that every layer spikes
    return made


def data(name: str) -> Tensor:
    """One step's input, (B, *shape), or all steps', (T, B, *shape): images stand still."""
    generator = torch.Generator().manual_seed(1)
    if name == "conv":
        return torch.rand(BATCH, 3, 32, 32, generator=generator)
    return (torch.rand(STEPS[name], BATCH, 256, generator=generator) < 0.3).float()


def step_of(forward: Callable[[], Tensor], parameters: list[nn.Parameter]) -> Step:
    """Forward, mean squared spike count, backward; returns the counts."""

    def step() -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        counts = forward()
        counts.square().mean().backward()
        return counts.detach()

    return step


def ours(name: str) -> Step:
    from neurokd.neurons import LIF, PerStep
    from neurokd.training.kept_memory import keep_freed_memory

    keep_freed_memory()  # as training does
    parts = layers(name)
    network = nn.Sequential(*(m for part in parts for m in (PerStep(part), LIF(BETA, THRESHOLD))))
    x = data(name)
    x = x.expand(STEPS[name], *x.shape) if name == "conv" else x
    return step_of(lambda: network(x).sum(dim=0), list(network.parameters()))


class Loop(nn.Module):
    """snnTorch's usual loop over time."""

    def __init__(self, name: str) -> None:
        super().__init__()
        import snntorch

        from neurokd.neurons.surrogate import triangle

        self.steps, self.moving = STEPS[name], name == "mlp"
        self.layers = nn.ModuleList(layers(name))
        self.neurons = nn.ModuleList(
            snntorch.Leaky(
                beta=BETA,
                threshold=THRESHOLD,
                spike_grad=triangle(),
                reset_mechanism="zero",
                reset_delay=False,
            )
            for _ in self.layers
        )

    def forward(self, x: Tensor) -> Tensor:
        states: list[Tensor | None] = [None] * len(self.layers)
        counts: Any = 0
        for t in range(self.steps):
            out = x[t] if self.moving else x
            for i, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                current = layer(out)
                state = states[i]
                if state is None:
                    state = torch.zeros_like(current)
                out, states[i] = neuron(current, state)
            counts = counts + out
        total: Tensor = counts
        return total


def snntorch_loop(name: str) -> Step:
    network, x = Loop(name), data(name)
    return step_of(lambda: network(x), list(network.parameters()))


def snntorch_compiled(name: str) -> Step:
    network, x = Loop(name), data(name)
    compiled: Any = torch.compile(network)
    return step_of(lambda: compiled(x), list(network.parameters()))


def spikingjelly(name: str) -> Step:
    """Multi-step modules; hard reset to zero, not detached, decay without the input."""
    from spikingjelly.activation_based import functional, layer, neuron  # type: ignore

    class Triangle(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, distance: Tensor) -> Tensor:
            ctx.save_for_backward(distance)
            return (distance > 0).to(distance.dtype)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            (distance,) = ctx.saved_tensors
            return gradients[0] * torch.clamp(1.0 - distance.abs(), min=0.0)

    parts: list[nn.Module] = []
    for part in layers(name):
        parts.append(layer.SeqToANNContainer(part))
        parts.append(
            neuron.LIFNode(
                tau=1 / (1 - BETA),
                decay_input=False,
                v_threshold=THRESHOLD,
                v_reset=0.0,
                surrogate_function=Triangle.apply,
                detach_reset=False,
                step_mode="m",
            )
        )
    network = nn.Sequential(*parts)
    x = data(name)
    x = x.unsqueeze(0).repeat(STEPS[name], 1, 1, 1, 1) if name == "conv" else x

    def forward() -> Tensor:
        functional.reset_net(network)
        counts: Tensor = network(x).sum(dim=0)
        return counts

    return step_of(forward, list(network.parameters()))


def snntorch_kept(name: str) -> Step:
    """snnTorch with what `keep_freed_memory` gives, which is no part of it."""
    from neurokd.training.kept_memory import keep_freed_memory

    keep_freed_memory()
    return snntorch_loop(name)


MAKERS = {
    "ours": ours,
    "snntorch": snntorch_loop,
    "snntorch-kept": snntorch_kept,
    "compiled": snntorch_compiled,
    "spikingjelly": spikingjelly,
}


def serve_steps(make: Callable[[], Step], threads: int) -> None:
    """A process that takes a step for each line on stdin and answers with its seconds."""
    torch.set_num_threads(threads)
    step = make()
    start = time.perf_counter()
    counts = step()
    first = time.perf_counter() - start
    answer = {"first": first, "peak_mb": peak_mb(step), "spikes": float(counts.mean())}
    print(json.dumps(answer | {"torch": torch.__version__}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


class Peer:
    """A process under ``python`` that takes steps when asked to."""

    def __init__(self, python: str, script: str, served: list[str], threads: int) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [python, script, "--serve", *served, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.answer = json.loads(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return line
        sys.exit(f"a peer ended with status {self.process.wait()}: {self.process.args!r}")

    def step(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        self.process.communicate()


def compare(name: str, pythons: dict[str, str], repeats: int, threads: int) -> list[str]:
    """A row for each peer: all take turns."""
    peers = {
        maker: Peer(python, __file__, [name, maker], threads) for maker, python in pythons.items()
    }
    seconds: dict[str, list[float]] = {maker: [] for maker in peers}
    for turn in range(repeats + 2):
        for maker, peer in peers.items():
            taken = peer.step()
            if turn > 1:
                seconds[maker].append(taken)
    rows = []
    for maker, peer in peers.items():
        peer.close()
        answer = peer.answer
        median = statistics.median(seconds[maker])
        # what its first step took beyond a usual one is compilation, shared among an epoch
        shared = (answer["first"] - median) / EPOCH_STEPS if maker == "compiled" else 0.0
        pairs = zip(seconds["ours"], seconds[maker], strict=True)
        ratio = statistics.median(own / (other + shared) for own, other in pairs)
        limit = LIMITS.get((name, maker))
        verdict = "" if limit is None else "kept" if ratio <= limit else "MISSED"
        rows.append(
            f"{name} | {maker} | {1e3 * median:.1f} | {1e3 * shared:.1f} | {ratio:.2f} | "
            f"{limit if limit is not None else ''} | {verdict} | {answer['peak_mb']:.0f} | "
            f"{answer['spikes']:.4f} | {answer['torch']}"
        )
        print(rows[-1], flush=True)
    return rows


def peak_mb(step: Step) -> float:
    """Largest resident size during a step, beyond what stays resident."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # begins the peak anew
    before = _status_mb("VmRSS")
    step()
    return _status_mb("VmHWM") - before


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        names = [line.split(":", 1)[1].strip() for line in stream if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main(only: list[str], makers: list[str], repeats: dict[str, int], threads: int) -> bool:
    """Print the table; whether every ratio was reached."""
    import numba
    import snntorch

    pythons = {maker: sys.executable for maker in makers}
    if "spikingjelly" in pythons:
        builder = [sys.executable, str(ROOT / ".ci" / "environment.py"), "spikingjelly"]
        pythons["spikingjelly"] = subprocess.run(
            builder, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
    print(
        f"{_processor()}, {os.cpu_count()} cores, {threads} threads; "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"snntorch {snntorch.__version__}, numba {numba.__version__}\n"
        f"batch {BATCH}, T {STEPS}, β {BETA}, triangle; ms of a step, MB above rest\n"
        "network | step of | ms | + compilation | ours over it | limit | | peak MB | "
        "spikes a neuron | torch"
    )
    rows = [row for name in only for row in compare(name, pythons, repeats[name], threads)]
    return not any("MISSED" in row for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--peers", nargs="+", choices=list(MAKERS)[1:], default=list(MAKERS)[1:])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        served, maker = options.serve
        serve_steps(lambda: MAKERS[maker](served), options.threads)
        sys.exit()
    counts = {"conv": 3, "mlp": 20} if options.quick else {"conv": 15, "mlp": 101}
    sys.exit(not main(options.only, ["ours", *options.peers], counts, options.threads))
