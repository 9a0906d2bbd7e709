"""Both encodings give the same spikes, by metadata or without it; ties are moved where provable."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurokd.errors import UnsupportedNodeError, UsageError
from neurokd.export import read_nir, simulate_nir, write_nir
from neurokd.export.nir_profile import with_profile

DT = 1e-4


def graph_of(neuron: nir.NIRNode, weight: Any = None, **metadata: Any) -> nir.NIRGraph:
    n = neuron.input_type["input"][0]
    return nir.NIRGraph(
        {
            "input": nir.Input(np.array([n])),
            "fc": nir.Linear(np.eye(n) if weight is None else weight),
            "n": neuron,
            "output": nir.Output(np.array([n])),
        },
        [("input", "fc"), ("fc", "n"), ("n", "output")],
        metadata={"dt": DT, **metadata},
    )


def lif(beta: float, threshold: float, n: int = 1, **values: float) -> nir.LIF:
    tau = DT / (1 - beta)
    own = {"tau": tau, "r": tau / DT, "v_leak": 0.0, "v_reset": 0.0, "v_threshold": threshold}
    return nir.LIF(**{key: np.full(n, value) for key, value in {**own, **values}.items()})


def test_the_numbers_of_both_profiles() -> None:
    a = with_profile(graph_of(lif(0.75, 2.0, v_leak=4.0, v_reset=-1.0)), "snntorch")
    b = with_profile(a, "unit-r")
    values = ("r", "v_threshold", "v_leak", "v_reset")
    assert [float(getattr(a.nodes["n"], v)[0]) for v in values] == [4.0, 2.0, 4.0, -1.0]
    # all of them times 1 − β = ¼
    assert [float(getattr(b.nodes["n"], v)[0]) for v in values] == [1.0, 0.5, 1.0, -0.25]
    assert b.metadata == {"dt": DT, "nir_profile": "unit-r"}
    cuba = nir.CubaLIF(
        tau_syn=np.full(1, 2 * DT),
        tau_mem=np.full(1, 4 * DT),
        r=np.full(1, 4.0),
        v_leak=np.zeros(1),
        v_threshold=np.full(1, 8.0),
        w_in=np.full(1, 2.0),
    )
    node = with_profile(graph_of(cuba), "unit-r").nodes["n"]
    # (1 − α)(1 − β) = ½ · ¼
    assert [float(v[0]) for v in (node.r, node.w_in, node.v_threshold)] == [1.0, 1.0, 1.0]
    back = with_profile(graph_of(node), "snntorch").nodes["n"]
    assert [float(v[0]) for v in (back.r, back.w_in, back.v_threshold)] == [4.0, 2.0, 8.0]
    integrate = nir.IF(np.full(1, 1 / DT), np.full(1, 3.3), np.zeros(1))
    node = with_profile(graph_of(integrate, np.full((1, 1), 0.3)), "unit-r").nodes["n"]
    assert node.r[0] == 1.0 and node.v_threshold[0] == pytest.approx(3.3 * DT, rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["LIF", "CubaLIF", "IF"])
def test_spikes_are_the_same_and_the_input_is_not_touched(
    kind: str, dtype: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    n = 12
    tau = rng.uniform(2, 20, n) * DT
    if kind == "LIF":
        node: Any = nir.LIF(tau, 0.5 + rng.random(n), rng.normal(size=n) / 9, np.ones(n), -tau)
    elif kind == "CubaLIF":
        syn = rng.uniform(2, 9, n) * DT
        node = nir.CubaLIF(syn, tau, 1 + tau, tau, np.full(n, 0.3), -tau, 1 + rng.random(n))
    else:
        node = nir.IF(rng.uniform(5e3, 2e4, n), np.ones(n), -tau)
    for field, value in vars(node).items():
        if isinstance(value, np.ndarray):
            setattr(node, field, value.astype(dtype))
    graph = graph_of(node, rng.normal(size=(n, n)))
    before = copy.deepcopy(graph)
    x = rng.random((300, 4, n)) * 2
    expected = simulate_nir(graph, x)
    assert 0.005 < expected.output.mean() < 0.9
    for profile in ("snntorch", "unit-r"):
        changed = with_profile(graph, profile)
        assert changed.nodes["n"].v_threshold.dtype == dtype
        # a reader that ignores metadata, but knows its dt
        del changed.metadata["nir_profile"]
        read = read_nir(write_nir(changed, tmp_path / f"{profile}.nir"))
        np.testing.assert_array_equal(simulate_nir(read, x).output, expected.output)
    for name, original in before.nodes.items():
        for field, value in vars(original).items():
            np.testing.assert_equal(getattr(graph.nodes[name], field), value)
    assert graph.metadata == before.metadata


def greater_or_equal(graph: nir.NIRGraph, x: np.ndarray) -> np.ndarray:
    """The same network in a reader that fires at v ≥ threshold: one number below it, here."""
    other = copy.deepcopy(graph)
    for node in other.nodes.values():
        if hasattr(node, "v_threshold"):
            node.v_threshold = node.v_threshold * (1 - 1e-9)
    return simulate_nir(other, x).output


@pytest.mark.parametrize("profile", ["snntorch", "unit-r"])
def test_in_a_domain_of_integers_both_rules_agree(profile: str) -> None:
    rng = np.random.default_rng(4)
    weight = rng.integers(-3, 5, (6, 6)).astype(float)
    x = rng.integers(0, 2, (8, 20, 6)).astype(float)
    integrate = nir.IF(np.full(6, 1 / DT), np.full(6, 4.0), np.zeros(6))
    for node, metadata in ((integrate, {}), (lif(0.5, 4.0, 6), {"steps": 8})):
        graph = graph_of(node, weight, **metadata)
        expected = simulate_nir(graph, x).output
        assert np.any(greater_or_equal(graph, x) != expected)
        moved = with_profile(graph, profile, input_unit=1.0)
        np.testing.assert_array_equal(simulate_nir(moved, x).output, expected)
        np.testing.assert_array_equal(greater_or_equal(moved, x), expected)
        again = with_profile(moved, profile, input_unit=1.0)
        np.testing.assert_array_equal(again.nodes["n"].v_threshold, moved.nodes["n"].v_threshold)


def test_thresholds_stay_where_nothing_is_proven() -> None:
    def threshold(graph: nir.NIRGraph, **options: Any) -> float:
        return float(with_profile(graph, "snntorch", **options).nodes["n"].v_threshold[0])

    integer = graph_of(lif(0.5, 4.0))
    assert threshold(integer, input_unit=1.0, steps=2) == 4.0 + 0.25 / 2
    assert threshold(integer, input_unit=1.0) == 4.0  # the grid halves at each of unknown steps
    assert threshold(integer, input_unit=1.0, steps=30) == 4.0  # too fine for float32
    assert threshold(integer, steps=2) == 4.0  # the input may be any number
    assert threshold(graph_of(lif(0.7, 4.0)), input_unit=1.0, steps=2) == 4.0
    leak = graph_of(lif(0.5, 4.0, v_leak=1.0))
    assert threshold(leak, input_unit=1.0, steps=2) == 4.0
    odd = graph_of(lif(0.5, 4.0), np.full((1, 1), 0.3))
    assert threshold(odd, input_unit=1.0, steps=2) == 4.0


def test_refusals() -> None:
    with pytest.raises(UsageError, match="snntorch | unit-r"):
        with_profile(graph_of(lif(0.5, 1.0)), "norse")
    with pytest.raises(UnsupportedNodeError, match="node 'n'.*> 0.*-1"):
        with_profile(graph_of(lif(0.5, 1.0, r=-1.0)), "unit-r")
