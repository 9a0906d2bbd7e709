import json
from pathlib import Path

import pytest

import neurokd.cli.demo as demo
from neurokd.cli.app import main

pytestmark = pytest.mark.training
FILES = (
    "config.toml",
    "metrics.jsonl",
    "model.safetensors",
    "nir/network.nir",
    "loihi/network.safetensors",
    "onnx/model-int8-unrolled.onnx",
    "profile.json",
    "verdict.json",
    "report.html",
    "teacher/model.safetensors",
    "baseline/model.safetensors",
)


@pytest.mark.lava
@pytest.mark.timeout(900)
def test_the_demo_holds_its_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "demo"
    assert main(["demo", "--out", str(run), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["test_accuracy"]["teacher"] >= 0.98
    assert answer["test_accuracy"]["student"] >= 0.965
    rows = {row["backend"]: row for row in answer["verdict"]["rows"]}
    for backend in ("emulator", "onnx"):
        assert rows[backend]["samples"] == 1000 and abs(rows[backend]["difference"]) <= 0.005
    identity = answer["verdict"]["identity"]
    assert identity["identical"] and identity["samples"] >= 50
    assert identity["variables"] == ["u", "v", "spikes"]
    assert all((run / name).is_file() for name in FILES)


def test_a_student_that_loses_too_much_is_fine_tuned(
    tmp_path: Path,
    tiny_data: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "TOLERANCE", -1.0)
    run = tmp_path / "demo"
    words = ["demo", "--out", str(run), "--no-lava", "--set", f"data='{tiny_data}'"]
    assert main([*words, "--set", "recipe.epochs=2"]) in (0, 1)  # two epochs prove no accuracy
    said = capsys.readouterr()
    assert "fine-tuning" in said.err and "Lava is left out, as asked" in said.err
    assert "verdict: " in said.out and "report.html" in said.out
    assert all((run / name).is_file() for name in FILES)
    notes = json.loads((run / "loihi" / "lowering.json").read_text())["populations"]
    assert all(note["rms_weight_error"] < 1e-6 for name, note in notes.items() if "stages" in name)


def test_a_folder_with_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "something else" in capsys.readouterr().err
