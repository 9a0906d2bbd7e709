"""The golden vectors: every primitive of NIR 1.0, worked out by hand, simulated and from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurokd.export import read_nir, simulate_nir, write_nir

GOLDEN = json.loads(
    (Path(__file__).parent / "golden" / "nir_primitives.json").read_text(encoding="utf-8")
)
VECTORS = {vector["type"]: vector for vector in GOLDEN["vectors"]}
PRIMITIVES = set(nir.ir.__all__) - {"NIRNode", "NIRGraph", "str2NIRNode", "dict2NIRNode"}


def graph_of(vector: dict[str, Any]) -> nir.NIRGraph:
    numbers = {key: np.array(value) for key, value in vector["fields"].items()}
    # nir takes a number, but not an array without axes
    fields = {key: value if value.ndim else int(value) for key, value in numbers.items()}
    node = nir.dict2NIRNode({"type": vector["type"], **fields})
    ends = {
        "input": nir.Input(np.array(np.shape(vector["x"])[1:])),
        "output": nir.Output(np.array(np.shape(vector["y"])[1:])),
    }
    if vector["type"] in ("Input", "Output"):
        nodes, edges = {**ends, vector["type"].lower(): node}, [("input", "output")]
    else:
        nodes = {"input": ends["input"], "node": node, "output": ends["output"]}
        edges = [("input", "node"), ("node", "output")]
    return nir.NIRGraph(nodes, edges, metadata={"dt": GOLDEN["dt"]}, type_check=False)


def test_there_is_one_for_each_primitive() -> None:
    assert set(VECTORS) == PRIMITIVES


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_simulated_and_read_back_it_gives_the_numbers_by_hand(name: str, tmp_path: Path) -> None:
    vector = VECTORS[name]
    graph = graph_of(vector)
    x, y = (np.array(vector[key], dtype=np.float64)[:, None] for key in ("x", "y"))
    # all numbers are small dyadic ones; 1e-12 is for 1e-4, which is not
    np.testing.assert_allclose(simulate_nir(graph, x).output, y, rtol=0, atol=1e-12)
    read = read_nir(write_nir(graph, tmp_path / "golden.nir"))
    np.testing.assert_allclose(simulate_nir(read, x).output, y, rtol=0, atol=1e-12)
