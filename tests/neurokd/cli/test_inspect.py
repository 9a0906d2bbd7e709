"""`neurokd inspect`: each kind of file it knows, and files that are not what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from neurokd.cli.app import main
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import DenseProjection


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    network = DeployedNetwork(
        populations=(
            InputPopulation("in", (3,)),
            LIFPopulation("out", (2,), du=4095, dv=0, vth=10, bias_mant=np.zeros(2, np.int32)),
        ),
        projections=(DenseProjection("fc", "in", "out", np.full((2, 3), 4, np.int32)),),
        output="out",
        chip="loihi2",
        steps=5,
    )
    return network.save(tmp_path / "net.safetensors")


def _inspected(file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["inspect", str(file), "--json"]) == 0
    description = json.loads(capsys.readouterr().out)
    assert isinstance(description, dict)
    return description


def test_deployed_network(deployed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    description = _inspected(deployed, capsys)
    assert description["chip"] == "loihi2" and description["steps"] == 5
    assert description["latency_steps"] == 1
    assert description["populations"] == [
        {"name": "in", "kind": "input", "shape": [3], "neurons": 3, "depth": 0},
        {"name": "out", "kind": "lif", "shape": [2], "neurons": 2, "depth": 1},
    ]
    projections = description["projections"]
    assert isinstance(projections, list)
    assert projections[0]["weight"] == [2, 3]


def test_nir_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nir = pytest.importorskip("nir")
    affine = nir.Affine(weight=np.ones((2, 3), np.float32), bias=np.ones(2, np.float32))
    graph = nir.NIRGraph(
        nodes={
            "input": nir.Input({"input": np.array([3])}),
            "fc": affine,
            "output": nir.Output({"output": np.array([2])}),
        },
        edges=[("input", "fc"), ("fc", "output")],
    )
    file = tmp_path / "net.nir"
    nir.write(file, graph)
    description = _inspected(file, capsys)
    nodes = description["nodes"]
    assert isinstance(nodes, list)
    found = next(node for node in nodes if node["name"] == "fc")
    assert found == {
        "name": "fc", "kind": "Affine", "input": [3], "output": [2], "parameters": 2 * 3 + 2,
    }  # fmt: skip
    assert {"source": "fc", "target": "output"} in description["edges"]  # type: ignore[operator]


def test_onnx_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [value("x", onnx.TensorProto.FLOAT, [1, 4])],
        [value("y", onnx.TensorProto.FLOAT, [1, 4])],
    )
    opsets = [onnx.helper.make_opsetid("", 20)]
    file = tmp_path / "net.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), file)
    description = _inspected(file, capsys)
    assert description["format"] == "ONNX"
    assert "Relu" in json.dumps(description)


def test_text_shows_every_population(deployed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(deployed)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "chip: loihi2" in lines
    assert any(line.split() == ["out", "lif", "2", "2", "1"] for line in lines)


@pytest.mark.parametrize("name", ["foreign.nir", "foreign.onnx", "foreign.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not what the name says"])
def test_foreign_file_is_one_line_and_status_2(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert main(["inspect", str(file), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and str(file) in captured.err
    assert captured.out == ""


def test_truncated_network_is_refused(deployed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deployed.write_bytes(deployed.read_bytes()[:-1])
    assert main(["inspect", str(deployed)]) == 2
    assert str(deployed) in capsys.readouterr().err


def test_weights_are_not_a_deployed_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"weight": np.zeros(2, np.float32)}, file)
    assert main(["inspect", str(file)]) == 2
    assert "this is not a deployed network" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing.nir", "network.net", "plain", ""])
def test_missing_or_unknown_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
