"""The commands on frames of real events: N-MNIST, one frame a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.cli.app import main
from neurokd.data import load_data
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation

NETWORK = """
import torch
from neurokd.models import build_model


def build():
    torch.manual_seed(1)
    net = build_model("convnet", in_channels=2, channels=(4, 6), kernels=(5, 3),
                      strides=(2, 2), classes=10, spiking=True)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3.0)  # so that enough of it spikes
    return net.eval()
"""


@pytest.fixture
def words(neurokd_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """SOURCE and its options: an untrained network on N-MNIST, cut into three frames."""
    (tmp_path / "event_network.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEUROKD_DATA", str(neurokd_data))
    monkeypatch.syspath_prepend(str(tmp_path))
    common = ["event_network:build", "--data", "nmnist:test", "--sample-shape", "2,34,34"]
    return [*common, "--steps", "3"]


def _json(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_frames_on_every_runtime(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = _json(capsys, ["export", *words, "--target", "loihi", "--out", str(tmp_path / "o")])
    net = DeployedNetwork.load(Path(exported["files"][0]))
    assert net.steps == 3 and net.input.scale == 1.0
    saved = tmp_path / "out.npz"
    # the deployed file knows how many frames it takes
    deployed = [exported["files"][0], "--data", "nmnist:test", "--samples", "8"]
    simulated = _json(capsys, ["simulate", *deployed, "--save", str(saved)])
    assert simulated["steps"] == 3 + net.latency
    data = load_data("nmnist:test", steps=3).first(8)
    with np.load(saved) as arrays:
        entered = arrays[f"spikes.{net.input.name}"]
        hidden = arrays["spikes.stages_1_1"]
    np.testing.assert_array_equal(entered[:3], data.x.swapaxes(0, 1))
    assert hidden.any()
    profiled = _json(capsys, ["profile", *deployed, "--out", str(tmp_path)])
    assert not profiled["uncounted"]
    assert (
        _json(capsys, ["simulate", *words, "--samples", "8", "--backend", "onnx"])["samples"] == 8
    )
    chosen = ["--samples", "20", "--backends", "emulator,onnx", "--tolerance", "0.1"]
    rows = _json(capsys, ["verify", *words, *chosen])["rows"]
    assert [row["backend"] for row in rows] == ["student", "emulator", "onnx"]


def test_counts_do_not_fit_loihi1(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *words, "--target", "loihi", "--chip", "loihi1"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the data changes" in said and "binary spikes" in said


def test_frames_of_0_and_1_do(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words[words.index("nmnist:test")] = "nmnist-binary:test"
    options = ["--target", "loihi", "--chip", "loihi1", "--out", str(tmp_path / "o")]
    file = _json(capsys, ["export", *words, *options])["files"][0]
    net = DeployedNetwork.load(Path(file))
    assert isinstance(net.input, InputPopulation) and net.input.encoding == "spikes"
    deployed = [file, "--data", "nmnist-binary:test", "--samples", "8"]
    assert _json(capsys, ["simulate", *deployed])["chip"] == "loihi1"
