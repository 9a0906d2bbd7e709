"""Distil a spiking student, lower it to Loihi 2's integers, run it, and prove that it is the same.

    python examples/01_distill_and_deploy.py            the demo's budget, about three minutes
    python examples/01_distill_and_deploy.py --fast     one minute, with lower bars

Everything is written to runs/example-01: the NIR graph, the integer network, the int8 ONNX model
and a report.html.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from neurokd.config import read_config
from neurokd.data import load_data
from neurokd.export import lower, to_onnx, trace, write_nir
from neurokd.hardware import emulate, profile
from neurokd.hardware.lava_environment import lava_status
from neurokd.report import write_report
from neurokd.run import RunFolder
from neurokd.training import train
from neurokd.verify import verify


def main(fast: bool = False, folder: Path = Path("runs/example-01")) -> dict[str, float]:
    """Walk the path and return the figures that were asserted."""
    run = RunFolder(folder)
    budget = ["recipe.epochs=4"] if fast else []

    # 1. A dense teacher, and a spiking student that learns from its saliency maps and logits.
    teacher = train(read_config("mnist-teacher", budget), RunFolder(folder / "teacher"))
    config = read_config("mnist-student", budget)
    student = train(config, run, teacher=teacher)

    # 2. Torch → NIR → one integer network. Calibration samples set the weight scales.
    training, test = load_data("mnist-subset:train"), load_data("mnist-subset:test")
    graph = trace(student, torch.zeros(1, *test.sample_shape), steps=config.steps)
    write_nir(graph, folder / "nir" / "network.nir")
    net = lower(graph, "loihi2", calibration=training.first(512).x, steps=config.steps)
    net.save(folder / "loihi" / "network.safetensors")
    onnx = folder / "onnx" / "model-int8-unrolled.onnx"
    to_onnx(graph, onnx, precision="int8", steps=config.steps, calibration=training.first(512).x)

    # 3. Chip time: the output lags by net.latency steps, so that many silent steps follow the data.
    some = test.first(100 if fast else 1000)
    activity = emulate(net, net.padded(net.encode(some.x)))
    estimate = profile(net, activity)

    # 4. The verdict: accuracies paired sample by sample, and Lava against the emulator bit by bit.
    lava = lava_status().available
    backends = ("emulator", "lava", "onnx") if lava else ("emulator", "onnx")
    verdict = verify(
        student, net, test, backends, onnx=onnx, lava_samples=5 if fast else 50,
        tolerance=0.01 if fast else 0.005,
    )  # fmt: skip
    run.write_json("profile.json", estimate.to_dict())
    run.write_json("verdict.json", verdict.to_dict())
    report = write_report(folder)

    rows = {row.backend: row for row in verdict.rows}
    per_sample = activity.counts.synaptic_operations / len(some)
    print(f"student {rows['student'].accuracy:.2%}, deployed {rows['emulator'].accuracy:.2%}")
    print(f"{per_sample:,.0f} synaptic operations a sample; report: {report}")
    assert rows["student"].accuracy >= (0.93 if fast else 0.965)
    assert verdict.holds, verdict.table()
    assert not lava or (verdict.identity is not None and verdict.identity.identical)
    return {name: row.accuracy for name, row in rows.items()}


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
