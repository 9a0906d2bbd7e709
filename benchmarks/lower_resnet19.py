"""Lowering of the ResNet-19 student: seconds of each pass.

Run: ``python benchmarks/lower_resnet19.py``. BLAS uses the threads that OMP_NUM_THREADS allows.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from neurokd.export import trace
from neurokd.export.flatten_nir import flatten_nir
from neurokd.export.lower import PASSES
from neurokd.export.lowering import Lowering
from neurokd.export.lowering_checks import check
from neurokd.export.lowering_options import lowering_options
from neurokd.models import build_model

MAX_SECONDS = 60.0
STEPS = 4
SAMPLES = 256
"""Offered for calibration; the pass of that name takes as many as the size allows."""


@dataclass(frozen=True)
class Measured:
    """Wall-clock and processor seconds of each pass and its check, in order."""

    wall_s: dict[str, float]
    processor_s: dict[str, float]
    lowered: Lowering

    @property
    def seconds(self) -> float:
        """All passes together."""
        return sum(self.wall_s.values())


def student(name: str) -> tuple[nir.NIRGraph, Any]:
    """The student with statistics that let every layer spike, as a graph; images of 8 bits.

    Shapes: images (B, 3, 32, 32) in [0, 1].
    """
    torch.manual_seed(0)
    model = build_model(name, spiking=True).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0.0, 0.1)
            nn.init.uniform_(layer.running_var, 0.05, 0.2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.3)
    images = np.rint(np.random.default_rng(0).random((SAMPLES, 3, 32, 32)) * 255) / 255
    graph = trace(model, torch.zeros(1, 3, 32, 32), steps=STEPS)
    return graph, images


def lower_in_passes(graph: nir.NIRGraph, calibration: Any, chip: str) -> Measured:
    """What `lower` does, timed pass by pass."""
    wall_s: dict[str, float] = {}
    processor_s: dict[str, float] = {}
    started, used = time.perf_counter(), time.process_time()
    flat = flatten_nir(graph)
    options = lowering_options(
        flat,
        chip=chip,
        calibration=calibration,
        dt=None,
        weight_bits=8,
        input_bits=None,
        input_scale=None,
        steps=STEPS,
        scales=None,
        exponents=None,
        scale_method="mse",
    )
    state = Lowering(graph=flat, options=options)
    wall_s["options"], processor_s["options"] = (
        time.perf_counter() - started,
        time.process_time() - used,
    )
    for name, transform in PASSES:
        started, used = time.perf_counter(), time.process_time()
        state = transform(state)
        check(name, state)
        wall_s[name] = time.perf_counter() - started
        processor_s[name] = time.process_time() - used
    return Measured(wall_s, processor_s, state)


def main(name: str, chip: str) -> bool:
    """Print the table; whether the bound is kept."""
    graph, images = student(name)
    measured = lower_in_passes(graph, images, chip)
    net = measured.lowered.deployed
    assert net is not None
    report = net.metadata["lowering"]
    readout = report["populations"][net.output]
    print(
        f"{name} student for {chip}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}, nir {nir.__version__}; "
        f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )
    print(
        f"{len(net.populations)} populations, {sum(p.size for p in net.populations):,} neurons, "
        f"{sum(p.weight.size for p in net.projections):,} weights, latency {net.latency} steps, "
        f"{report['calibration_samples']} calibration samples"
    )
    print("pass | wall s | processor s")
    for step, seconds in measured.wall_s.items():
        if seconds >= 0.01:
            print(f"{step} | {seconds:.2f} | {measured.processor_s[step]:.2f}")
    print(f"all | {measured.seconds:.2f} | {sum(measured.processor_s.values()):.2f}")
    print(
        f"readout: {readout['effective_bits']} effective bits, limited by {readout['limited_by']}, "
        f"output error {readout['rms_output_error']:.3f}"
    )
    kept = measured.seconds <= MAX_SECONDS
    print(f"bound: {MAX_SECONDS:g} s: {'kept' if kept else 'MISSED'}")
    return kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", default="resnet19")
    parser.add_argument("--chip", default="loihi2")
    options = parser.parse_args()
    sys.exit(not main(options.student, options.chip))
