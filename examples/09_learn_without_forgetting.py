"""Pairs of digits, learned one after another: SDMLP, SSD, and what a plain network forgets.

    python examples/09_learn_without_forgetting.py [--fast]

The runs are written to runs/example-09. The last one is exported as int8 ONNX and compared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from neurokd.config import ContinualConfig
from neurokd.continual import backward_transfer
from neurokd.continual.learn import learn
from neurokd.continual.load_network import LearnedStream
from neurokd.continual.metrics.entropy import entropy_ceiling
from neurokd.export.onnx_runtime import run_onnx
from neurokd.export.onnx_topk import topk_to_onnx
from neurokd.run import RunFolder

NEURONS, WINNERS = 300, 5


def configuration(tasks: int, epochs: int, **methods: Any) -> ContinualConfig:
    """SDMLP on Split MNIST, of the packaged 5,000 images; inhibition is complete in task 1."""
    network = {
        "name": "sdmlp",
        "sizes": [NEURONS],
        "k": WINNERS,
        "switch_samples": 500 * epochs,
    }
    learning = {"epochs": epochs, "batch_size": 32, "learning_rate": 0.1}
    data = {"data": "mnist-subset", "tasks": tasks}
    return ContinualConfig.model_validate(
        {**data, "network": network, "learning": learning, **methods}
    )


def main(fast: bool = False, folder: Path = Path("runs/example-09")) -> dict[str, float]:
    """Learn the stream in three ways; return the accuracies that were asserted."""
    tasks, epochs = (3, 60) if fast else (5, 200)
    dense = {"network": {"name": "mlp", "sizes": [NEURONS]}}
    arms: dict[str, dict[str, Any]] = {"mlp": dense, "sdmlp": {}, "ssd": {"ssd": {}}}
    summaries = {}
    for name, values in arms.items():
        config = configuration(tasks, 20 if name == "mlp" else epochs, **values)
        summaries[name] = found = learn(config, RunFolder(folder / name))
        print(f"{name}: Val.Acc {found['val_acc']:.1%}, BWT {100 * found['bwt']:+.1f} points")

    # what the definition says, from the matrix itself
    matrix = np.array(summaries["ssd"]["matrix"])
    assert np.isclose(summaries["ssd"]["bwt"], backward_transfer(matrix))
    # a plain network knows the last pair only; of few winners, some keep what they know
    assert summaries["mlp"]["bwt"] < -0.9
    for name in ("sdmlp", "ssd"):
        assert summaries[name]["val_acc"] > summaries["mlp"]["val_acc"] + 0.15, name
        assert summaries[name]["bwt"] > -0.6, name
    # the switch is complete: entropy is below what so few winners allow at most
    probe = summaries["sdmlp"]["probe"]
    assert probe["entropy_bits"] <= entropy_ceiling(WINNERS, NEURONS) * 1.05
    assert probe["winners"][0] < 1.1 * WINNERS

    # the learner on an edge device: int8, Top-K and all
    run = RunFolder(folder / "ssd")
    stream = LearnedStream(run)
    test = stream.test
    samples = stream.training_samples(256).x
    report = topk_to_onnx(stream.network, folder / "ssd.onnx", calibration=samples)
    scores = run_onnx(folder / "ssd.onnx", test.x)
    onnx = float((scores.argmax(axis=1) == test.y).mean())
    print(f"int8 ONNX: {onnx:.1%}, {report.bytes:,} bytes of {report.float_bytes:,}")
    assert abs(onnx - summaries["ssd"]["val_acc"]) <= 0.01
    assert report.bytes < 0.3 * report.float_bytes
    return {name: found["val_acc"] for name, found in summaries.items()} | {"onnx": onnx}


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
