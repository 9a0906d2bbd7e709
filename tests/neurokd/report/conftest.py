"""A run folder with every part that a report can show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.report import write_report
from neurokd.verify.verdict import Identity, Row, Verdict


def band(nominal: float) -> dict[str, float]:
    return {"low": nominal / 2, "nominal": nominal, "high": 4 * nominal}


PROFILE: dict[str, Any] = {
    "chip": "loihi2",
    "samples": 1000,
    "steps": 6,
    "counts": {},
    "layers": [
        {
            "name": name,
            "neurons": neurons,
            "spikes_per_sample": spikes,
            "spikes_per_neuron_step": spikes / neurons / 6,
            "synaptic_operations_per_sample": 9 * spikes,
            "neuron_updates_per_sample": 6 * neurons,
            "energy_pj": band(1000.0 * spikes),
        }
        for name, neurons, spikes in (("input", 784, 400.5), ("stage0", 3136, 812.0))
    ],
    "energy_lines": [
        {
            "name": "synaptic operations",
            "energy_pj": band(2.5e6),
            "grade": "pre-silicon",
            "note": "a note on synapses",
        },
        {"name": "static", "energy_pj": band(3e7), "grade": "assumed", "note": ""},
    ],
    "energy_pj": band(3.25e7),
    "latency_us": band(90.0),
    "latency_grade": "fitted",
    "latency_note": "counts steps only",
    "cores": {
        "count": 14,
        "chips": 1,
        "binding": "neurons: 1,024 of 1,024",
        "by_population": {"hidden": 13, "out": 1},
        "mapped": True,
    },
    "synaptic_memory_bits": 65536,
    "uncounted": ["traffic to the host"],
    "notes": ["a note on the chip"],
}


def verdict(onnx_holds: bool = True) -> Verdict:
    difference = -0.003 if onnx_holds else -0.02
    return Verdict(
        0.005,
        1000,
        "student",
        (
            Row("student", 1000, 976, 0.976, (0.96, 0.98), None, None, None, "reference", None),
            Row("onnx", 1000, 973, 0.973, (0.96, 0.98), 0.99, difference, 0.5, "bar", onnx_holds),
            Row("lava", 50, 49, 0.98, (0.9, 0.99), 1.0, 0.0, 1.0, "identity", True),
        ),
        Identity("lava", "emulator", 50, ("u", "v"), ("stage0",), 1234, True, None),
    )


def metrics_lines(accuracy: float, terms: tuple[str, ...]) -> str:
    rows: list[dict[str, Any]] = []
    for epoch in range(1, 4):
        values = {term: 1.0 / epoch for term in terms}
        rows.append(
            {"epoch": epoch, "split": "train", "accuracy": accuracy - 0.3 / epoch, "seconds": 1.0}
            | values
            | {"loss": sum(values.values())}
        )
    rows.append({"epoch": 3, "split": "test", "accuracy": accuracy})
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A complete run folder, to be changed at will."""
    return fill(tmp_path / "my-run")


@pytest.fixture(scope="session")
def whole_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a complete run folder, to be read only."""
    return write_report(fill(tmp_path_factory.mktemp("whole") / "my-run"))


def fill(folder: Path) -> Path:
    for name, accuracy, terms in (
        ("teacher", 0.986, ("ce",)),
        ("baseline", 0.971, ("ce",)),
        (".", 0.976, ("ce", "samd", "nld")),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "metrics.jsonl").write_text(metrics_lines(accuracy, terms))
    (folder / "config.toml").write_text(
        'role = "student"\ndata = "mnist-subset"\nseed = 41\nsteps = 4\n[model]\nname = "convnet"\n'
    )
    (folder / "profile.json").write_text(json.dumps(PROFILE))
    (folder / "verdict.json").write_text(json.dumps(verdict().to_dict()))
    spikes = np.random.default_rng(0).integers(0, 2, (6, 784)).astype(np.uint8)
    np.savez(
        folder / "raster.npz",
        label=np.int64(7),
        population_order=np.array(["input", "stage0"]),
        input=spikes,
        stage0=np.zeros((6, 20), np.uint8),
    )
    (folder / "loihi").mkdir()
    (folder / "loihi" / "lowering.json").write_text('{"stage0": {"vth": 1234}}')
    return folder
