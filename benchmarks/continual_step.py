"""A step of SDMLP and of SSD beside the forward product alone and the dense form by autograd.

Run: ``python benchmarks/continual_step.py [--quick]``. After the switch: g = 1 for every neuron,
k of r are active. All rows of a table take turns, in one process; printed are medians of the steps
and of the ratios of neighbours. ``product`` is W x of a batch, into memory that is there.
``ssd`` has the teacher's answers to all samples beforehand, as a task does; ``ssd + answers`` adds
what they took per step of a task of --epochs epochs; ``ssd, asked each step`` asks the teacher for
every batch anew. ``ssd + ewc`` has momentum, too, so that all weights move. ``stack`` is one of
eight learners that step together, ``apart`` one of the same eight, one after another. Memory is the
largest resident size during steps, less what the process had before the network was there; what the
BLAS keeps for products of that size was there already.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from neurokd.config.continual import LearningConfig, SSDConfig
from neurokd.continual.ewc import EWC
from neurokd.continual.gradient_learner import GradientLearner
from neurokd.continual.method import Method
from neurokd.continual.sparse_batch import Lesson
from neurokd.continual.sparse_dense import Loss
from neurokd.continual.sparse_inertia import Inertia
from neurokd.continual.sparse_layer import hidden_layer
from neurokd.continual.sparse_learner import loss_of
from neurokd.continual.sparse_step import SparseSteps
from neurokd.continual.sparse_teacher import SubnetworkTeacher
from neurokd.continual.ssd import SSD
from neurokd.data.labelled import LabelledData
from neurokd.data.stream import Task
from neurokd.models.sdmlp import SDMLP

BATCH, INPUTS, CLASSES, K, STACK = 128, 256, 10, 10, 8
LIMITS = {
    (10_000, "sdmlp", "product"): 1.6,
    (10_000, "ssd + answers", "product"): 2.8,
    (1_000, "sdmlp", "sdmlp by autograd"): 0.6,
    (1_000, "ssd", "ssd by autograd"): 0.6,
}
MEMORY_LIMIT = 1.5
PULLED = LearningConfig(learning_rate=0.03, momentum=0.9)
Step = Callable[[], object]


def network(neurons: int, seed: int = 0) -> SDMLP:
    """SDMLP with the switch behind it."""
    torch.manual_seed(seed)
    made = SDMLP(INPUTS, (neurons,), CLASSES, k=K, switch_samples=1)
    hidden_layer(made).winners.counts.fill_(1)
    return made


def samples(batches: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(batches * BATCH, INPUTS, generator=generator)
    y = torch.randint(0, CLASSES, (len(x),), generator=generator)
    return nn.functional.normalize(x, dim=1), y


class Batches:
    """The places of batches, round and round."""

    def __init__(self, count: int) -> None:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(2))
        self.parts, self.turn = order.split(BATCH), 0

    def next(self) -> Tensor:
        self.turn += 1
        return self.parts[self.turn % len(self.parts)]


def sparse(neurons: int, lesson: Lesson, learners: int = 1) -> Step:
    networks = [network(neurons, seed) for seed in range(learners)]
    steps = SparseSteps(networks, [lesson] * learners, [LearningConfig()] * learners)
    batches = Batches(len(lesson.y))
    return lambda: steps.step([batches.next() for _ in range(learners)])


def pulled(neurons: int, lesson: Lesson) -> Step:
    """SSD with EWC as the papers have it, which moves all weights."""
    own, ewc = network(neurons), EWC()
    data = LabelledData("random", lesson.x.numpy(), lesson.y.numpy())
    ewc.end_task(own, Task(0, tuple(range(CLASSES)), data, data), torch.Generator())
    steps = SparseSteps([own], [lesson], [PULLED], [Inertia(own, PULLED, ewc)])
    batches = Batches(len(lesson.y))
    return lambda: steps.step([batches.next()])


def dense(
    neurons: int, x: Tensor, y: Tensor, methods: Sequence[Method], learning: LearningConfig
) -> Step:
    """A step of `GradientLearner`, whose order of samples is drawn as usual."""
    learner = GradientLearner(network(neurons), learning, methods)
    data = LabelledData("random", x.numpy(), y.numpy())
    task = Task(0, tuple(range(CLASSES)), data, data)
    generator = torch.Generator().manual_seed(3)
    learner.begin_task(task)
    if methods:
        learner.end_task(task, generator)
        learner.begin_task(task)
    one = Task(1, task.classes, data.first(BATCH), data)
    return lambda: learner.epoch(one, generator)  # an epoch of one step


def product(neurons: int, x: Tensor) -> Step:
    weight = hidden_layer(network(neurons)).weight
    out = torch.empty(BATCH, neurons)
    batch = x[:BATCH].clone()
    return lambda: torch.mm(batch, weight.t(), out=out)


def seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(neurons: int, repeats: int, epochs: int) -> bool:
    """The table of one size; whether its limits are kept."""
    x, y = samples(20)
    teacher = SubnetworkTeacher.take(network(neurons), x, neurons // 10)
    loss = loss_of(SSDConfig())
    start = time.perf_counter()
    taught = teacher.answer(x)
    answering = (time.perf_counter() - start) / 20
    steps: dict[str, Step] = {
        "product": product(neurons, x),
        "sdmlp": sparse(neurons, Lesson(x, y, Loss())),
        "ssd": sparse(neurons, Lesson(x, y, loss, teacher, taught)),
        "ssd, asked each step": sparse(neurons, Lesson(x, y, loss, teacher)),
        "ssd + ewc": pulled(neurons, Lesson(x, y, loss, teacher, taught)),
        "sdmlp by autograd": dense(neurons, x, y, [], LearningConfig()),
        "ssd by autograd": dense(neurons, x, y, [SSD()], LearningConfig()),
        "ssd + ewc by autograd": dense(neurons, x, y, [SSD(), EWC()], PULLED),
    }
    if neurons <= 1000:
        lesson = Lesson(x, y, loss, teacher, taught)
        apart = [sparse(neurons, lesson) for _ in range(STACK)]
        steps["ssd, stack of 8"] = sparse(neurons, lesson, STACK)
        steps["ssd, 8 apart"] = lambda: [step() for step in apart]
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 3):
        for name, step in steps.items():
            step()  # each finds its own arrays in the caches, as it does in an epoch
            one = seconds(step)
            if turn > 2:
                taken[name].append(one / (STACK if "8" in name else 1))
    taken["ssd + answers"] = [one + answering / epochs for one in taken["ssd"]]
    good = True
    print("\nr | step | ms | × product | × dense form | limit | ", flush=True)
    for name, times in taken.items():
        kind = next((k for k in ("ssd + ewc", "ssd") if name.startswith(k)), "sdmlp")
        own = f"{kind} by autograd"
        ratios = {
            other: statistics.median(a / b for a, b in zip(times, taken[other], strict=True))
            for other in ("product", own)
        }
        verdicts = []
        for other, ratio in ratios.items():
            limit = LIMITS.get((neurons, name, other))
            if limit is not None:
                good &= ratio <= limit
                verdicts.append(f"{limit} × {other}: {'kept' if ratio <= limit else 'MISSED'}")
        columns = [
            f"{1e3 * statistics.median(times):.2f}",
            f"{ratios['product']:.2f}",
            f"{ratios[own]:.2f}",
        ]
        print(" | ".join([str(neurons), name, *columns, *verdicts]), flush=True)
    return good


def status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def give_back() -> None:
    """Freed memory goes back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def print_memory(name: str) -> None:
    """Peak of some steps at r = 10,000; in a process of its own, for others leave memory."""
    neurons = 10_000
    x, y = samples(4)
    teacher = SubnetworkTeacher.take(network(1000), x, 100)
    taught = teacher.answer(x)
    sparse(1000, Lesson(x, y, loss_of(SSDConfig()), teacher, taught))()  # libraries are loaded
    if name == "ssd":
        teacher = SubnetworkTeacher.take(network(neurons), x, neurons // 10)
        taught = teacher.answer(x)
        lesson = Lesson(x, y, loss_of(SSDConfig()), teacher, taught)
    else:
        lesson = Lesson(x, y, Loss())
    product(neurons, x)()
    give_back()
    before = status_mb("VmRSS")
    step = sparse(neurons, lesson)
    give_back()  # what initialisation took for a while is no part of a step
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # begins the peak anew
    for _ in range(6):
        step()
    print(status_mb("VmHWM") - before)


def memory(name: str, threads: int) -> bool:
    command = [sys.executable, __file__, "--memory", name, "--threads", str(threads)]
    peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    least = 4 * 10_000 * (INPUTS + CLASSES + BATCH) / 2**20
    kept = peak <= MEMORY_LIMIT * least
    print(
        f"10000 | {name} | {peak:.1f} MiB | {peak / least:.2f} × weights + activations "
        f"({least:.1f} MiB) | {MEMORY_LIMIT} | {'kept' if kept else 'MISSED'}"
    )
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps: does it run?")
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=50, help="that share a task's answers")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print_memory(options.memory)
        return 0
    print(f"torch {torch.__version__}, {options.threads} threads, batch {BATCH}, d {INPUTS}, k {K}")
    repeats = 5 if options.quick else options.repeats
    kept = [compare(neurons, repeats, options.epochs) for neurons in (1_000, 10_000)]
    kept += [memory(name, options.threads) for name in ("sdmlp", "ssd")]
    return 0 if all(kept) or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
