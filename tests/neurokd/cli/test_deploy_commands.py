import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.cli.app import main

pytestmark = pytest.mark.training


def _json(capsys: pytest.CaptureFixture[str], words: list[str], status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == status, capsys.readouterr().err
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_export_simulate_profile_verify_report(
    run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(run_copy)
    assert main(["export", run, "--target", "nir"]) == 0
    exported = _json(capsys, ["export", run, "--target", "loihi"])
    assert exported["chip"] == "loihi2" and Path(exported["files"][0]).is_file()
    assert _json(capsys, ["export", run, "--target", "onnx"])["precision"] == "int8"
    saved = tmp_path / "out.npz"
    simulated = _json(capsys, ["simulate", run, "--samples", "30", "--save", str(saved)])
    with np.load(saved) as arrays:
        assert arrays["classes"].shape == (30,)
        accuracy = float((arrays["classes"] == arrays["y"]).mean())
        spikes = sum(int((arrays[n] != 0).sum()) for n in arrays.files if n.startswith("spikes."))
    assert simulated["accuracy"] == accuracy
    assert simulated["counts"]["spikes"] == spikes > 0
    profiled = _json(capsys, ["profile", run, "--samples", "30"])
    per_sample = sum(layer["spikes_per_sample"] for layer in profiled["layers"])
    assert per_sample * 30 == pytest.approx(spikes)
    assert profiled == json.loads((run_copy / "profile.json").read_text())
    words = ["verify", run, "--backends", "emulator,onnx", "--tolerance", "0.1"]
    words += ["--chip", "loihi2"]
    verdict = _json(capsys, words)
    assert verdict["holds"] and verdict["samples"] == 160
    assert verdict == json.loads((run_copy / "verdict.json").read_text())
    assert main(["report", run]) == 0
    page = (run_copy / "report.html").read_text()
    assert "emulator" in page


@pytest.mark.lava
def test_lava_gives_the_emulators_spikes(
    run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"{name}.npz" for name in ("emulator", "lava")}
    for name, file in files.items():
        words = [
            "simulate",
            str(run_copy),
            "--backend",
            name,
            "--samples",
            "4",
            "--save",
            str(file),
        ]
        assert main(words) == 0
    with np.load(files["emulator"]) as expected, np.load(files["lava"]) as found:
        assert set(expected.files) == set(found.files)
        assert all(np.array_equal(expected[name], found[name]) for name in expected.files)
    words = ["verify", str(run_copy), "--backends", "lava", "--lava-samples", "3"]
    verdict = _json(capsys, words)
    assert verdict["identity"]["identical"] and verdict["identity"]["samples"] == 3


def test_every_form_of_source_gives_the_same_network(
    run_copy: Path, tiny_data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nir"
    assert main(["export", str(run_copy), "--target", "nir", "--out", str(out)]) == 0
    common = ["--backend", "emulator", "--data", tiny_data, "--samples", "40"]
    of_run = _json(capsys, ["simulate", str(run_copy), *common])
    of_nir = _json(capsys, ["simulate", str(out / "network.nir"), *common])
    assert main(["export", str(run_copy), "--target", "loihi"]) == 0
    deployed = str(run_copy / "loihi" / "network.safetensors")
    of_file = _json(capsys, ["simulate", deployed, *common])
    assert of_run["counts"] == of_file["counts"]
    # Calibration differs (training data against the data given), the network does not.
    assert of_nir["accuracy"] == pytest.approx(of_run["accuracy"], abs=0.1)


def test_more_steps_than_the_readout_was_proven_for(
    run_copy: Path, tiny_data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run_copy), "--target", "loihi"]) == 0
    deployed = str(run_copy / "loihi" / "network.safetensors")
    common = ["--data", tiny_data, "--samples", "2", "--steps", "9"]
    assert main(["simulate", deployed, *common]) == 2
    assert "fewer steps" in capsys.readouterr().err
    answer = _json(capsys, ["simulate", str(run_copy), *common])  # lowered anew
    assert answer["steps"] == 9 + 3
    assert "readout: threshold" not in answer["overflows"]


def test_an_export_of_older_weights_is_not_used(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run_copy), "--target", "loihi", "--weight-bits", "4"]) == 0
    from safetensors.numpy import load_file, save_file

    state = load_file(run_copy / "model.safetensors")
    state["classifier.layer.bias"] = state["classifier.layer.bias"] + 1
    save_file(state, run_copy / "model.safetensors")
    capsys.readouterr()
    assert main(["simulate", str(run_copy), "--samples", "2"]) == 0
    assert "was made from other weights; the network is lowered anew" in capsys.readouterr().err


def test_a_verdict_that_does_not_hold_is_status_1(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(run_copy), "--target", "loihi", "--weight-bits", "2"]
    assert main(words) == 0
    verdict = _json(
        capsys, ["verify", str(run_copy), "--backends", "emulator", "--tolerance", "0"], status=1
    )
    assert not verdict["holds"]


OWN = """
import snntorch, torch
from torch import nn


def build():
    torch.manual_seed(0)
    lif = dict(reset_mechanism="zero", reset_delay=False, init_hidden=True)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2), snntorch.Leaky(beta=0.5, **lif),
        nn.Flatten(), nn.Linear(4 * 12 * 12, 10), snntorch.Leaky(beta=0.75, **lif),
    )


def kept():
    kept = dict(reset_mechanism="none", init_hidden=True)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 3), snntorch.Leaky(beta=0.5, **kept)).double()


def pooled():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(338, 10))


def nothing():
    return 5


def broken():
    return 1 / 0
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_network.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_bring_your_own_network(
    own: Path, tiny_data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["own_network:build", "--sample-shape", "1,28,28", "--data", tiny_data, "--steps", "5"]
    assert main(["export", *common, "--target", "loihi", "--out", "mine"]) == 0
    assert (own / "mine" / "network.safetensors").is_file()
    verdict = _json(capsys, ["verify", *common, "--backends", "emulator,onnx", "--tolerance", "1"])
    rows = {row["backend"]: row for row in verdict["rows"]}
    assert rows["emulator"]["agreement"] > 0.8 and rows["onnx"]["agreement"] > 0.8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "RUN", "--target", "tvm"], "unknown target"),
        (["export", "RUN"], "unknown target"),
        (["export", "RUN", "--target", "nir", "--nir-profile", "loud"], "loud"),
        (["export", "RUN", "--target", "nir", "--reset-none", "keep"], "refuse | threshold"),
        (["export", "own_network:kept", "--sample-shape", "1,28,28", "--target", "nir"], "'none'"),
        (["export", "RUN", "--target", "loihi", "--chip", "loihi9"], "loihi9"),
        (["export", "RUN", "--target", "onnx", "--form", "round"], "round"),
        (["export", "RUN", "--target", "loihi", "--weight-bits", "9"], "9"),
        (["export", "nowhere", "--target", "nir"], "no such source"),
        (["export", "own_network.py", "--target", "nir"], "kind"),
        (["export", "own_network:build", "--target", "nir"], "--sample-shape"),
        (
            ["export", "own_network:built", "--sample-shape", "1,28,28", "--target", "nir"],
            "factory",
        ),
        (["export", "own_network:nothing", "--sample-shape", "1,28,28", "--target", "nir"], "int"),
        (
            ["export", "own_network:pooled", "--sample-shape", "1,28,28", "--target", "nir"],
            "MaxPool2d",
        ),
        (
            ["export", "own_network:build", "--sample-shape", "1,x", "--target", "nir"],
            "not a shape",
        ),
        (["export", "own_network:build", "--sample-shape", "3,9,9", "--target", "nir"], "1"),
        (["export", "own_network:broken", "--sample-shape", "1,28,28", "--target", "nir"], "Zero"),
        (["simulate", "RUN", "--backend", "tpu"], "unknown backend"),
        (["simulate", "RUN", "--samples", "0"], "positive"),
        (["simulate", "RUN", "--steps", "0"], "positive"),
        (["simulate", "RUN", "--data", "wrong.npz"], "fit"),
        (["simulate", "RUN", "--data", "nowhere.npz"], "no such file"),
        (["simulate", "RUN", "--save", "x.txt"], ".npz"),
        (["profile", "RUN", "--data", "wrong.npz"], "fit"),
        (["verify", "RUN", "--data", "wrong.npz"], "fit"),
        (["verify", "RUN", "--backends", "tpu"], "tpu"),
        (["verify", "RUN", "--chip", "loihi9"], "loihi9"),
        (["verify", "RUN", "--backends", "emulator", "--tolerance", "2"], "tolerance"),
        (["report", "nowhere"], "not a run folder"),
        (["simulate"], "no trained run"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    own: Path, run_copy: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(own / "wrong.npz", x=np.ones((3, 1, 20, 28)), y=np.zeros(3, int))

    def files() -> set[Path]:
        return {path for path in own.rglob("*") if "__pycache__" not in path.parts}

    before = files()
    capsys.readouterr()
    assert main([str(run_copy) if word == "RUN" else word for word in words]) == 2
    captured = capsys.readouterr()
    *_, last = captured.err.splitlines()
    assert last.startswith("neurokd: ") and message in last and "a bug of" not in last
    assert captured.out == "" and files() == before


@pytest.mark.parametrize("damage", ["cut", "foreign", "shape", "gone"])
def test_damaged_weights_are_refused(
    run_copy: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = run_copy / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-50])
    elif damage == "foreign":
        weights.write_bytes(b"not weights at all")
    elif damage == "gone":
        weights.unlink()
    else:
        text = (run_copy / "config.toml").read_text()
        (run_copy / "config.toml").write_text(text.replace("    24,", "    25,"))
    assert main(["export", str(run_copy), "--target", "nir"]) == 2
    assert "model.safetensors" in capsys.readouterr().err
    assert not (run_copy / "nir").exists()


def test_a_missing_lava_is_one_line(
    run_copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROKD_LAVA_PYTHON", shutil.which("true") or "/bin/true")
    assert main(["simulate", str(run_copy), "--backend", "lava", "--samples", "1"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "NEUROKD_LAVA_PYTHON" in line


def test_a_nir_profile_is_chosen_by_name(run_copy: Path, tmp_path: Path) -> None:
    import nir

    from neurokd.export import read_nir

    for profile, resistance in (("snntorch", 2.0), ("unit-r", 1.0)):  # r = τ / dt, β = 1/2
        words = ["export", str(run_copy), "--target", "nir", "--nir-profile", profile]
        assert main([*words, "--out", str(tmp_path / profile)]) == 0
        graph = read_nir(tmp_path / profile / "network.nir")
        neurons = [node for node in graph.nodes.values() if isinstance(node, nir.LIF)]
        assert len(neurons) == 2
        assert all(np.allclose(node.r, resistance, rtol=1e-6) for node in neurons)


def test_neurons_that_never_reset_are_written_on_request(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from neurokd.export import read_nir

    words = ["export", "own_network:kept", "--sample-shape", "1,28,28", "--reset-none", "threshold"]
    assert main([*words, "--target", "nir", "--out", "kept"]) == 0
    graph = read_nir(own / "kept" / "network.nir")
    kinds = sorted(type(node).__name__ for node in graph.nodes.values())
    assert kinds == ["Affine", "Flatten", "Input", "LI", "Output", "Threshold"]
    assert graph.metadata["reset"] == "none"
    again = ["export", "kept/network.nir", "--target", "nir", "--reset-none", "threshold"]
    assert main(again) == 2
    assert "--reset-none is for torch networks" in capsys.readouterr().err


def test_an_export_leaves_other_files_of_its_folder_alone(run_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for target in ("nir", "loihi", "onnx"):
        assert main(["export", str(run_copy), "--target", target, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert not list(tmp_path.glob(".*"))
