"""The deployment commands on runs that learned a stream: a dense network, in ONNX."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neurokd.cli.app import main
from neurokd.config import ContinualConfig, write_config
from neurokd.continual.load_network import LearnedStream, load_network
from neurokd.continual.load_stream import load_stream
from neurokd.continual.make_learner import build_network
from neurokd.continual.spiking.deployed_data import deployed_data
from neurokd.continual.spiking.from_sdmlp import from_sdmlp
from neurokd.data import load_data
from neurokd.errors import FileFormatError, UsageError
from neurokd.export.onnx_runtime import run_onnx
from neurokd.models.sdmlp import SDMLP
from neurokd.models.spiking_sdmlp import messages
from neurokd.run import RunFolder

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def mnist_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mnist")
    for split, count in (("train", 1000), ("test", 300)):
        data = load_data(f"mnist-subset:{split}").first(count)
        np.savez(folder / f"{split}.npz", x=data.x, y=data.y)
    return str(folder)


def config(data: str, **network: Any) -> ContinualConfig:
    options = {"name": "sdmlp", "sizes": [60], "k": 5, "switch_samples": 4000} | network
    return ContinualConfig.model_validate({"data": data, "order": 3, "network": options})


def trained(folder: Path, chosen: ContinualConfig) -> Path:
    """A run as `neurokd continual` leaves it; it saw all classes at once, to be quick."""
    stream = load_stream(chosen)
    network = build_network(chosen, stream.sample_shape, stream.classes)
    optimiser = torch.optim.SGD(network.parameters(), lr=5.0 if hasattr(network, "hidden") else 0.1)
    data = stream.joined().tasks[0].train
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        for indices in torch.randperm(len(data), generator=generator).split(50):
            x, y = data.batch(indices)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()
            if hasattr(network, "constrain"):
                network.constrain()
    run = RunFolder(folder)
    run.begin(chosen)
    run.save_model(network)
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, mnist_folder: str) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "run", config(mnist_folder))


@pytest.fixture
def stream_run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def _json(capsys: pytest.CaptureFixture[str], words: list[str], status: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == status, capsys.readouterr().err
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_the_network_in_a_run_is_the_one_that_was_saved(stream_run: Path) -> None:
    learned = LearnedStream(RunFolder(stream_run))
    network = load_network(learned.run, learned.stream)
    state = network.state_dict()
    assert not network.training and state["winners.0.counts"].sum() > 0
    assert torch.equal(
        state["classifier.weight"], learned.network.state_dict()["classifier.weight"]
    )
    assert len(learned.test) == 300
    assert len(np.unique(learned.test.first(learned.stream.classes).y)) == learned.stream.classes
    samples = learned.training_samples(50)
    assert np.bincount(samples.y).min() > 0 and 40 <= len(samples) <= 50


def test_export_simulate_verify_and_inspect_a_stream(
    stream_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(stream_run)
    verdict = _json(capsys, ["verify", run, "--tolerance", "0.02"])  # exports anew, for itself
    exported = _json(capsys, ["export", run, "--target", "onnx"])
    file = stream_run / "onnx" / "model-int8-dense.onnx"
    assert exported["files"] == [str(file)] and exported["form"] == "dense"
    described = _json(capsys, ["inspect", str(file)])
    assert described["operators"]["TopK"] == 1 and described["inputs"] == {
        "x": ["batch", 1, 28, 28]
    }
    assert described["neurokd"]["winners"] == [5]

    learned = LearnedStream(RunFolder(stream_run))
    with torch.no_grad():
        float_classes = learned.network(torch.from_numpy(learned.test.x)).argmax(dim=1).numpy()
    classes = run_onnx(file, learned.test.x).argmax(axis=1)
    accuracies = [float((each == learned.test.y).mean()) for each in (float_classes, classes)]
    simulated = _json(capsys, ["simulate", run, "--backend", "onnx"])
    assert simulated["accuracy"] == pytest.approx(accuracies[1]) and accuracies[1] > 0.6

    rows = {row["backend"]: row for row in verdict["rows"]}
    assert (
        verdict["holds"] and verdict["reference"] == "network" and set(rows) == {"network", "onnx"}
    )
    assert rows["network"]["accuracy"] == pytest.approx(accuracies[0])
    assert rows["onnx"]["accuracy"] == pytest.approx(accuracies[1])
    assert rows["onnx"]["agreement"] == pytest.approx(float((classes == float_classes).mean()))
    assert verdict == json.loads((stream_run / "verdict-onnx.json").read_text())
    assert _json(capsys, ["verify", run, "--tolerance", "0.02"]) == verdict  # with that file
    as_float = _json(capsys, ["export", run, "--target", "onnx", "--precision", "float"])
    assert as_float["bytes"] > 3 * exported["bytes"] and as_float["max_error"] < 1e-5


def test_a_model_of_another_network_does_not_hold(
    stream_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(stream_run), "--target", "onnx"]) == 0
    run = RunFolder(stream_run)
    learned = LearnedStream(run)
    learned.network.get_parameter("classifier.weight").data.mul_(-1)
    saved_at = (stream_run / "onnx" / "model-int8-dense.onnx").stat().st_mtime_ns
    run.save_model(learned.network)
    os.utime(run.weights, ns=(saved_at - 1, saved_at - 1))  # as if the model were newer
    assert not _json(capsys, ["verify", str(stream_run)], status=1)["holds"]
    os.utime(run.weights, ns=(saved_at + 1, saved_at + 1))
    capsys.readouterr()
    main(["verify", str(stream_run), "--tolerance", "1"])
    assert "older than the weights" in capsys.readouterr().err


def test_an_mlp_that_learned_a_stream_is_exported_too(
    tmp_path: Path, mnist_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ContinualConfig.model_validate(
        {"data": mnist_folder, "network": {"name": "mlp", "sizes": [40], "dropout": 0.1}}
    )
    run = str(trained(tmp_path / "run", chosen))
    exported = _json(capsys, ["export", run, "--target", "onnx"])
    assert exported["activations"]["stages.0"]["exact"]  # pixels
    assert _json(capsys, ["verify", run, "--backends", "onnx", "--tolerance", "0.02"])["holds"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "RUN", "--target", "loihi"], "spiking"),
        (["export", "RUN", "--target", "nir"], "spiking"),
        (["export", "RUN", "--target", "loihi", "--finetune"], "learned a stream"),
        (["export", "RUN", "--target", "onnx", "--form", "step"], "no form"),
        (["export", "RUN", "--target", "onnx", "--precision", "int4"], "int4"),
        (["simulate", "RUN"], "set spiking.steps"),
        (["simulate", "RUN", "--backend", "lava"], "spiking"),
        (["simulate", "RUN", "--backend", "onnx", "--data", "wrong.npz"], "fit"),
        (["profile", "RUN"], "spiking"),
        (["verify", "RUN", "--backends", "emulator"], "spiking"),
        (["verify", "RUN", "--backends", "emulator,onnx"], "two networks"),
        (["verify", "RUN", "--data", "wrong.npz"], "fit"),
        (["verify", "RUN", "--data", "classes.npz"], "class"),
        (["verify", "RUN", "--tolerance", "2"], "tolerance"),
    ],
)
def test_what_a_dense_network_has_not_is_one_line(
    stream_run: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("wrong.npz", x=np.ones((3, 1, 20, 28)), y=np.zeros(3, int))
    np.savez("classes.npz", x=np.ones((3, 1, 28, 28)), y=np.full(3, 11))
    before = set(tmp_path.rglob("*"))
    capsys.readouterr()
    assert main([str(stream_run) if word == "RUN" else word for word in words]) == 2
    captured = capsys.readouterr()
    *_, last = captured.err.splitlines()
    assert last.startswith("neurokd: ") and message in last and "a bug of" not in last
    assert captured.out == "" and set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["fly", "icarl"])
def test_what_answers_otherwise_than_by_its_network_is_not_deployed(
    name: str, tmp_path: Path, mnist_folder: str
) -> None:
    run = RunFolder(tmp_path)
    method = {"icarl": {}} if name == "icarl" else {"network": {"name": "fly"}}
    chosen = ContinualConfig.model_validate({"data": mnist_folder, **method})
    run.begin(chosen)
    with pytest.raises(UsageError, match=f"not deployed.*{name}"):
        load_network(run, load_stream(chosen))


def test_a_run_that_is_not_complete_or_damaged_is_refused(stream_run: Path) -> None:
    run = RunFolder(stream_run)
    run.weights.write_bytes(run.weights.read_bytes()[:-40])
    with pytest.raises(FileFormatError, match=r"model\.safetensors"):
        _ = LearnedStream(run).network
    run.weights.unlink()
    with pytest.raises(FileFormatError, match="--resume"):
        _ = LearnedStream(run).network


@pytest.fixture(scope="module")
def spiking_original(
    tmp_path_factory: pytest.TempPathFactory, original: Path, mnist_folder: str
) -> Path:
    """The stream's run with a spiking student as it begins: not trained, but calibrated."""
    folder = Path(shutil.copytree(original, tmp_path_factory.mktemp("spiking") / "run"))
    chosen = ContinualConfig.model_validate(
        config(mnist_folder).model_dump(exclude_none=True) | {"spiking": {}}
    )
    assert chosen.spiking is not None
    (folder / "config.toml").write_text(write_config(chosen))
    learned = LearnedStream(RunFolder(folder))
    assert isinstance(learned.network, SDMLP)
    x = messages(torch.from_numpy(learned.training_samples(300).x))
    student = from_sdmlp(learned.network, chosen.spiking, x)
    RunFolder(folder / "spiking").save_model(student)
    return folder


@pytest.fixture
def spiking_run(spiking_original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(spiking_original, tmp_path / "run"))


def test_a_spiking_student_of_a_stream_is_what_runs_on_the_chip(
    spiking_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(spiking_run)
    learned = LearnedStream(RunFolder(spiking_run))
    frames = deployed_data(learned.config, learned.test)
    student = learned.spiking_scores(np.moveaxis(frames.x, 1, 0).astype(np.float32)).argmax(axis=1)
    verdict = _json(capsys, ["verify", run, "--backends", "emulator", "--tolerance", "0.01"])
    rows = {row["backend"]: row for row in verdict["rows"]}
    assert verdict["holds"] and verdict["samples"] == 300
    right = float((student == learned.test.y).mean())
    assert rows["student"]["accuracy"] == pytest.approx(right) and right > 0.3
    assert rows["emulator"]["agreement"] > 0.97

    assert _json(capsys, ["verify", run, "--backends", "onnx", "--tolerance", "0.02"])["holds"]
    assert (
        json.loads((spiking_run / "verdict.json").read_text()) == verdict
    )  # they lie side by side

    profiled = _json(capsys, ["profile", run, "--samples", "20"])
    simulated = _json(capsys, ["simulate", run, "--samples", "20"])
    spikes = sum(layer["spikes_per_sample"] for layer in profiled["layers"])
    assert spikes * 20 == pytest.approx(simulated["counts"]["spikes"])
    exported = _json(capsys, ["export", run, "--target", "loihi"])
    assert exported["neurons"] == 60 + 8 + 10
    assert main(["export", run, "--target", "nir"]) == 0
    capsys.readouterr()
    assert _json(capsys, ["simulate", run, "--samples", "20"]) == simulated  # now from the export
    assert main(["verify", run, "--backends", "emulator,onnx"]) == 2
    assert "two networks" in capsys.readouterr().err


@pytest.mark.lava
def test_lava_runs_the_spiking_student_of_a_stream(
    spiking_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", str(spiking_run), "--samples", "20", "--lava-samples", "2"]
    verdict = _json(capsys, [*words, "--tolerance", "0.1"])
    assert verdict["identity"]["identical"] and verdict["identity"]["samples"] == 2
    assert [row["backend"] for row in verdict["rows"]] == ["student", "emulator", "lava"]


def test_a_spiking_student_that_is_missing_or_foreign_is_refused(
    spiking_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = spiking_run / "spiking" / "model.safetensors"
    shutil.copy(spiking_run / "model.safetensors", weights)
    assert main(["simulate", str(spiking_run)]) == 2
    assert "spiking SDMLP" in capsys.readouterr().err
    weights.unlink()
    assert main(["simulate", str(spiking_run)]) == 2
    assert "--resume" in capsys.readouterr().err
