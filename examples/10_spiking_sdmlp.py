"""A stream of digits, learned one task after another, and deployed on Loihi 2 after each.

    python examples/10_spiking_sdmlp.py [--fast]

SDMLP learns two digits at a time. After each task a spiking student is trained, whose hidden
neurons compete by inhibition that the chip has; the emulator then runs it on digits of all tasks so
far. Everything is written to runs/example-10; spiking/deployment.png shows it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from neurokd.config import ContinualConfig
from neurokd.continual.learn import learn
from neurokd.continual.load_stream import load_stream
from neurokd.continual.spiking.deployed_data import deployed_data
from neurokd.continual.spiking.load_spiking import load_spiking
from neurokd.continual.spiking.stream import spike_stream
from neurokd.continual.spiking.to_nir import to_nir
from neurokd.data.steps_first import lowering_arguments
from neurokd.export import lower
from neurokd.run import RunFolder
from neurokd.verify import verify

K = 10


def main(fast: bool = False, folder: Path = Path("runs/example-10")) -> dict[str, float]:
    """Learn, deploy, verify; return the numbers that were asserted."""
    epochs = 8 if fast else 30
    config = ContinualConfig.model_validate(
        {
            "role": "continual",
            "data": "mnist-subset",
            "tasks": 2 if fast else 5,
            "network": {
                "name": "sdmlp",
                "sizes": [300 if fast else 1000],
                "k": K,
                "switch_samples": 500 * epochs,
            },
            "learning": {"epochs": epochs, "batch_size": 32, "learning_rate": 0.2},
            "ssd": {},
            "spiking": {"samples": 150 if fast else 400},
        }
    )
    run = RunFolder(folder)
    learn(config, run)

    # 1. A spiking student for each task: trained with its circuit, lowered, run, measured.
    summary = spike_stream(run, config, lambda done, total, said: print(f"{done}/{total}: {said}"))
    for row in summary["rows"]:
        cost = row["cost"]
        print(
            f"task {row['task'] + 1}: winners {row['mean_winners']:.1f}, "
            f"{cost['synaptic_operations']:,.0f} synaptic operations "
            f"(dense {cost['dense_operations']:,}), "
            f"{1e-6 * cost['dynamic_pj']['nominal']:.2f} µJ in operations"
        )
        for student, deployed in zip(row["student"], row["deployed"], strict=True):
            assert abs(student - deployed) <= 0.01
        assert 0.5 * K <= row["mean_winners"] <= 1.5 * K
        assert cost["synaptic_operations"] < cost["dense_operations"] / 3
        assert cost["dynamic_pj"]["nominal"] < cost["dense_dynamic_pj"]["nominal"] / 2

    # 2. The last student, as any other network: a graph, integers, a verdict.
    task = load_stream(config).tasks[-1]
    train, test = (deployed_data(config, data) for data in (task.train, task.test))
    student = load_spiking(run)
    net = lower(to_nir(student), **lowering_arguments(train.first(200), "loihi2"))
    verdict = verify(student, net, test, ["emulator"], samples=150, tolerance=0.01)
    assert verdict.holds
    print(json.dumps({"accuracy": summary["accuracy"], "bwt": summary["bwt"]}))
    assert abs(summary["accuracy"]["deployed"] - summary["accuracy"]["float"]) < 0.08
    return dict(summary["accuracy"])


if __name__ == "__main__":
    main(fast="--fast" in sys.argv[1:])
