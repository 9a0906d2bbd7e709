"""The lowering report as a table, for both chips, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurokd.cli.app import main
from neurokd.cli.lowering_table import lowering_rows
from neurokd.export import write_nir
from neurokd.hardware.network import DeployedNetwork

NOTE = {
    "scale": 100.0,
    "projections": {"w": {"bits": 8, "resolution": 0.02}, "x": {"bits": 4, "resolution": 0.5}},
    "effective_bits": 7.5,
    "fraction_clipped": 0.001,
    "threshold": 200,
    "limited_by": "weights",
    "spike_agreement": 0.995,
    "delays": {"x": {"steps": 2, "by": "synapses"}},
}


def test_a_row_by_hand() -> None:
    rows = lowering_rows({"lowering": {"populations": {"l": NOTE, "split": {"split_into": []}}}})
    assert rows == [
        {
            "layer": "l",
            "bits": "4 8",
            "used": 7.5,
            "clipped": "0.10%",
            "resolution": "0.5",
            "range": 200,
            "limited by": "weights",
            "agreement": "99.50%",
            "error": "",
            "delays": "x 2 (synapses)",
        }
    ]
    assert lowering_rows({}) == []


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_export_and_inspect_show_it(
    chip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import nir

    rng = np.random.default_rng(0)
    neurons = nir.LIF(*(np.full(5, v) for v in (2e-4, 2.0, 0.0, 1.0, 0.0)))
    readout = nir.I(np.full(2, 1e4))
    graph = nir.NIRGraph.from_list(
        nir.Linear(rng.normal(size=(5, 4))), neurons, nir.Linear(rng.normal(size=(2, 5))), readout
    )
    graph.metadata["dt"] = 1e-4
    write_nir(graph, tmp_path / "n.nir")
    data = tmp_path / "d.npz"
    np.savez(data, x=rng.random((20, 4)).astype(np.float32), y=np.zeros(20, dtype=np.int64))
    words = ["export", str(tmp_path / "n.nir"), "--target", "loihi", "--chip", chip]
    assert main([*words, "--data", str(data), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert "agreement" in told.err and "lif" in told.err and "agreement" not in told.out
    file = tmp_path / "out" / "network.safetensors"
    assert (DeployedNetwork.load(file).host is not None) == (chip == "loihi1")
    assert main(["inspect", str(file)]) == 0
    text = capsys.readouterr().out
    assert "\nlowering\n" in text and ("\nhost" in text) == (chip == "loihi1")
    for command in (["simulate", str(file), "--samples", "5"], ["profile", str(file), "--json"]):
        assert main([*command, "--data", str(data)]) in (0, 1)
        capsys.readouterr()
    assert main(["inspect", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lowering"][0]["layer"]
