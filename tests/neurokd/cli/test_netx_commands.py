"""netx on the command line: a trained run written for lava-dl, and `.net` files as sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurokd.cli.app import main
from neurokd.errors import FileFormatError
from neurokd.export import read_netx
from neurokd.hardware import DeployedNetwork, emulate

pytestmark = pytest.mark.training


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) in (0, None), capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_run_as_netx_and_back(
    run_copy: Path, tiny_data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file answers as the network beside it; the emulator runs either."""
    written = answer(capsys, "export", str(run_copy), "--target", "netx", "--out", str(tmp_path))
    net, deployed = (Path(file) for file in written["files"])
    network, read = DeployedNetwork.load(deployed), read_netx(net)
    arguments = {"input_message_bits": 8, "reset_offset": 1}
    arguments["reset_interval"] = network.steps + network.latency
    assert written["network_arguments"] == arguments
    assert all(0 < change <= 32 for change in written["largest_bias_change"].values())
    x = np.load(f"{tiny_data}/test.npz")["x"][:6]
    record = ("u", "v", "spikes")
    one, other = (emulate(n, n.padded(n.encode(x)), record=record) for n in (network, read))
    for name, kept in one.records.items():
        for variable, values in kept.items():
            np.testing.assert_array_equal(values, other.records[name][variable])

    samples = ("--data", tiny_data, "--samples", "20")
    found = [answer(capsys, "simulate", str(file), *samples) for file in (net, deployed)]
    assert found[0] == found[1] and found[0]["counts"]["spikes"] > 0
    profiled = answer(capsys, "profile", str(net), *samples)
    assert profiled["chip"] == "loihi2"
    described = answer(capsys, "inspect", str(net))
    assert described["format"] == "netx"
    assert [p["name"] for p in described["populations"]] == [p.name for p in network.populations]
    again = answer(capsys, "export", str(net), "--target", "netx", "--out", str(tmp_path / "b"))
    assert Path(again["files"][0]).read_bytes() == net.read_bytes()
    bundle = answer(capsys, "export", str(net), "--target", "loihi", "--out", str(tmp_path / "c"))
    assert str(tmp_path / "c" / "run_in_lava.py") in bundle["files"]


def test_what_an_export_cannot_do_is_said(
    run_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert main([*words]) == 2
        return capsys.readouterr().err

    run, out = str(run_copy), ("--out", str(tmp_path / "x"))
    answer(capsys, "export", run, "--target", "loihi", "--chip", "loihi1")
    deployed = str(run_copy / "loihi" / "network.safetensors")
    assert answer(capsys, "export", deployed, "--target", "loihi", *out)["chip"] == "loihi1"
    assert "are what they are" in refused(
        "export", deployed, "--target", "loihi", "--weight-bits", "4", *out
    )
    assert "--chip loihi2" in refused("export", run, "--target", "netx", "--chip", "loihi1", *out)
    assert "network.safetensors" in refused("inspect", run)
    assert "emulator and lava" in refused("simulate", run, "--backend", "onnx", "--chip", "loihi1")
    assert answer(capsys, "simulate", run, "--samples", "4", "--chip", "loihi1")["chip"] == "loihi1"
    assert main(["simulate", run, "--samples", "4", "--chip", "loihi2"]) == 0
    assert "it is for loihi1; the network is lowered anew" in capsys.readouterr().err


@pytest.mark.lava
def test_verify_a_netx_file_on_lava(
    run_copy: Path, tiny_data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = answer(capsys, "export", str(run_copy), "--target", "netx", "--out", str(tmp_path))
    words = ["verify", written["files"][0], "--data", tiny_data, "--backends", "emulator,lava"]
    verdict = answer(capsys, *words, "--samples", "8", "--lava-samples", "3")
    assert verdict["holds"] and verdict["identity"]["identical"]


def test_something_else_is_no_netx_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FileFormatError):
        read_netx(Path(__file__))
    (tmp_path / "a.net").write_bytes(b"no HDF5")
    assert main(["inspect", str(tmp_path / "a.net")]) == 2
    assert "a.net: this is not a complete netx file" in capsys.readouterr().err
