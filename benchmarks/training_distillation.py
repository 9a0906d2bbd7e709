"""What distillation adds to a training step, and what recomputing blocks saves of its memory.

Run: ``python benchmarks/training_distillation.py [--quick]``. The ResNet-20 student of width 1
with T = 4 and batches of 64 images of 32 × 32, forward and backward: alone, with its dense teacher
(SAMD + NLD), and the teacher's forward pass by itself. Each runs in a process of its own; they take
turns, and medians over the turns are printed. The bound: distillation costs the teacher's forward
pass and at most 10 % of plain training on top. The last rows are the student at T = 4 and more,
with and without `recomputed`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from training_step import Peer, serve_steps

from neurokd.config import DistillConfig
from neurokd.models import build_model
from neurokd.training.kept_memory import keep_freed_memory
from neurokd.training.objective import Distillation, Objective, SpikingClassification
from neurokd.training.recompute import recomputable, recomputed

BATCH, STEPS, ON_TOP = 64, 4, 0.10
ROWS = ("plain", "distilled", "teacher")


def step_of(objective: Objective, network: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    classes = torch.arange(len(images)) % 10
    generator = torch.Generator().manual_seed(0)

    def step() -> Tensor:
        network.zero_grad(set_to_none=True)
        logits, terms = objective(images, classes, generator)
        torch.stack(list(terms.values())).sum().backward()
        return logits.detach()

    return step


def make(row: str) -> Callable[[], Tensor]:
    """A step: plain, distilled, teacher; or T and whether blocks are recomputed, as in 16-True."""
    torch.manual_seed(0)
    images = torch.rand(BATCH, 3, 32, 32)
    student = build_model("resnet20", spiking=True)
    teacher = build_model("resnet20", spiking=False).eval()
    if row == "teacher":

        def forward() -> Tensor:
            with torch.no_grad():
                logits: Tensor = teacher(images)
            return logits

        return forward
    if row == "distilled":
        return step_of(Distillation(student, teacher, STEPS, DistillConfig()), student, images)
    if row == "plain":
        return step_of(SpikingClassification(student, STEPS), student, images)
    steps, again = row.split("-")
    inner = step_of(SpikingClassification(student, int(steps)), student, images[:16])
    parts = recomputable(student, [f"stages.{i}" for i in range(3)])

    def step() -> Tensor:
        with recomputed(student, parts) if again == "True" else nullcontext():
            return inner()

    return step


def main(turns: int, long: list[int], threads: int) -> bool:
    """Print the tables; whether the bound was kept."""
    print(
        f"{os.cpu_count()} cores, {threads} threads; Python {platform.python_version()}, torch "
        f"{torch.__version__}; ResNet-20, width 1, T {STEPS}, batch {BATCH}\n"
        "step | ms | peak MB"
    )
    peers = {row: Peer(sys.executable, __file__, [row], threads) for row in ROWS}
    seconds: dict[str, list[float]] = {row: [] for row in peers}
    for _ in range(turns):
        for row, peer in peers.items():
            seconds[row].append(peer.step())
    for row, peer in peers.items():
        peer.close()
        median = statistics.median(seconds[row])
        print(f"{row} | {1e3 * median:.0f} | {peer.answer['peak_mb']:.0f}", flush=True)
    turns_ = list(zip(*(seconds[row] for row in ROWS), strict=True))
    whole = statistics.median(distilled / plain - 1 for plain, distilled, _ in turns_)
    share = statistics.median(teacher / plain for plain, _, teacher in turns_)
    rest = statistics.median((d - t) / p - 1 for p, d, t in turns_)
    print(
        f"distillation adds {whole:.1%} of plain training: the teacher's forward pass {share:.1%}, "
        f"and {rest:.1%} on top; limit {ON_TOP:.0%}, {'kept' if rest <= ON_TOP else 'MISSED'}"
    )
    print("T, batch 16 | recomputed | ms | peak MB")
    for steps in long:
        for again in (False, True):
            peer = Peer(sys.executable, __file__, [f"{steps}-{again}"], threads)
            taken = statistics.median(peer.step() for _ in range(3))
            peer.close()
            print(f"{steps} | {again} | {1e3 * taken:.0f} | {peer.answer['peak_mb']:.0f}")
    return rest <= ON_TOP


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", nargs=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        keep_freed_memory()
        serve_steps(lambda: make(options.serve[0]), options.threads)
        sys.exit()
    turns, long = (3, [4, 16]) if options.quick else (15, [4, 16, 64])
    sys.exit(not main(turns, long, options.threads))
