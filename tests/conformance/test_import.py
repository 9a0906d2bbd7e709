"""Graphs written by other frameworks' own writers: read, simulated and lowered here."""

from __future__ import annotations

from pathlib import Path

import conformance_matrix as matrix
import nir
import numpy as np
import pytest
from conformance_margins import smallest_margin

from neurokd.errors import FileFormatError
from neurokd.export import lower, read_nir, simulate_nir, write_nir
from neurokd.hardware import emulate

DT = 1e-4
NETWORKS = [
    ("spikingjelly", "dense"),
    ("spikingjelly", "conv"),
    ("spikingjelly", "residual"),
    ("spikingjelly", "cuba"),
    ("norse", "dense"),
    ("norse", "conv"),
]


@pytest.fixture(scope="module")
def written(
    client_pythons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folders = {client: tmp_path_factory.mktemp(client) for client in client_pythons}
    for client, python in client_pythons.items():
        matrix.run_client(client, python, "write", folders[client])
    return folders


@pytest.mark.parametrize(("client", "name"), NETWORKS)
def test_a_foreign_graph_gives_the_spikes_of_the_module_it_was_written_from(
    written: dict[str, Path], tmp_path: Path, client: str, name: str
) -> None:
    graph = read_nir(written[client] / f"{name}.nir")
    with np.load(written[client] / f"{name}.npz") as data:
        x, expected = data["x"], data["spikes"]
    run = simulate_nir(graph, x, dt=DT)
    assert smallest_margin(graph, run) >= 1e-6
    assert 0.02 < expected.mean() < 0.9
    np.testing.assert_array_equal(run.output, expected)
    again = read_nir(write_nir(graph, tmp_path / "again.nir"))
    np.testing.assert_array_equal(simulate_nir(again, x, dt=DT).output, expected)

    net = lower(graph, dt=DT, calibration=x, input_bits=1, input_scale=1.0, steps=len(x))
    deployed = emulate(net, net.padded(x.astype(np.int32)))
    np.testing.assert_array_equal(np.asarray(deployed.output)[net.latency :], expected)


def test_a_foreign_file_with_time_constants_below_a_step_is_refused(
    written: dict[str, Path], tmp_path: Path
) -> None:
    """What norse's writer gives with its default dt: it multiplies τ by 1e-3."""
    graph = nir.read(written["norse"] / "dense.nir")
    for node in graph.nodes.values():
        if isinstance(node, nir.LIF):
            node.tau = node.tau * np.float32(1e-3)
    nir.write(tmp_path / "scaled.nir", graph)
    with pytest.raises(FileFormatError, match="shorter than a step"):
        read_nir(tmp_path / "scaled.nir")
