"""`train --set qat=true` and `export --finetune` leave the network that was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurokd.cli.app import main
from neurokd.errors import FileFormatError
from neurokd.hardware.network import DeployedNetwork
from neurokd.run import RunFolder
from neurokd.training.finetune_run import RECORD, recorded_quantisation

pytestmark = pytest.mark.training


def weights(file: Path) -> dict[str, np.ndarray]:
    return {p.name: p.weight for p in DeployedNetwork.load(file).projections}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_training_with_quantisation_leaves_the_deployed_network(
    tiny: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    sets = [*tiny, "qat=true", "qat_epochs=1", "weight_bits=4"]
    words = [word for value in sets for word in ("--set", value)]
    assert main(["train", "mnist-student-alone", *words, "--out", str(run)]) == 0
    deployed = run / "loihi" / "network.safetensors"
    trained = weights(deployed)
    assert all(p.num_weight_bits == 4 for p in DeployedNetwork.load(deployed).projections)
    assert json.loads((run / RECORD).read_text())["weight_bits"] == 4
    assert main(["export", str(run), "--target", "loihi", "--out", str(tmp_path / "again")]) == 0
    assert_same(weights(tmp_path / "again" / "network.safetensors"), trained)
    words = ["export", str(run), "--target", "loihi", "--weight-bits", "3"]
    assert main([*words, "--out", str(tmp_path / "three")]) == 0
    three = DeployedNetwork.load(tmp_path / "three" / "network.safetensors")
    assert all(p.num_weight_bits == 3 for p in three.projections)


def test_export_fine_tunes_a_run_and_starts_from_its_float_weights_again(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(run_copy)
    before = run.fingerprint()
    text = run.path / "config.toml"
    text.write_text(text.read_text().replace("qat_epochs = 4", "qat_epochs = 1"))
    words = ["export", str(run_copy), "--target", "loihi", "--finetune"]
    assert main([*words, "--weight-bits", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    notes = answer["lowering"]["populations"]
    assert all(note["rms_weight_error"] < 1e-6 for note in notes.values())
    assert RunFolder(run_copy / "finetune").fingerprint() == before != run.fingerprint()
    first = weights(run_copy / "loihi" / "network.safetensors")
    assert main([*words, "--weight-bits", "4"]) == 0
    assert main([*words, "--weight-bits", "3"]) == 0
    assert_same(weights(run_copy / "loihi" / "network.safetensors"), first)
    test = json.loads(run.metrics.read_text().splitlines()[-1])
    assert test["split"] == "test" and test["accuracy"] > 0.5
    # other weights: the record is no longer true
    run.weights.write_bytes((run_copy / "finetune" / "model.safetensors").read_bytes())
    assert recorded_quantisation(run) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"weights": "x"}'])
def test_a_broken_record_is_an_error(run_copy: Path, content: str) -> None:
    (run_copy / RECORD).write_text(content)
    with pytest.raises(FileFormatError, match="no record of a quantisation"):
        recorded_quantisation(RunFolder(run_copy))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "onnx", "--finetune"], "--finetune is for --target loihi only"),
        (["--target", "nir", "--weight-bits", "4"], "--weight-bits is for --target loihi only"),
        (["--target", "loihi", "--teacher", "x"], "--teacher is for --finetune only"),
        (["--target", "loihi", "--finetune", "--teacher", "x"], "without distillation"),
        (["--target", "loihi", "--weight-bits", "9"], "1 … 8"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], message: str, run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run_copy), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_run_whose_teacher_is_elsewhere_asks_for_it(
    run_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = run_copy / "config.toml"
    text.write_text(text.read_text() + "\n[distill]\nsamd = 1.0\n")
    assert main(["export", str(run_copy), "--target", "loihi", "--finetune"]) == 2
    assert "give --teacher RUN" in capsys.readouterr().err


def test_what_is_not_a_run_cannot_be_fine_tuned(
    run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run_copy), "--target", "nir", "--out", str(tmp_path)]) == 0
    words = ["export", str(tmp_path / "network.nir"), "--target", "loihi", "--finetune"]
    assert main([*words, "--data", "mnist-subset"]) == 2
    assert "only a run can be fine-tuned" in capsys.readouterr().err
