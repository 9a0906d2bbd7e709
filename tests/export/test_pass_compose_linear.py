"""Composition keeps what the graph computes, and the form that each chain of nodes deserves."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from neurokd.errors import UnsupportedNodeError
from neurokd.export import pass_compose_linear, simulate_nir
from neurokd.export.float_network import FloatProjection, run_float
from neurokd.export.lowering import Lowering, Options
from neurokd.export.pass_compose_linear import compose_linear
from neurokd.export.pass_populations import populations
from neurokd.hardware.population import InputPopulation

RNG = np.random.default_rng(0)
BIAS = RNG.normal(size=4)
POOL = nir.SumPool2d(*(np.array([n, n]) for n in (2, 2, 0)))
CONV = nir.Conv2d((3, 3), RNG.normal(size=(4, 2, 2, 2)), (1, 1), (1, 1), (2, 2), 1, BIAS)


def state(
    chain: list[nir.NIRNode], shape: tuple[int, ...], out: tuple[int, ...], skip: bool = False
) -> Lowering:
    nodes = {"input": nir.Input(np.array(shape))}
    nodes |= {f"n{i}": node for i, node in enumerate(chain)}
    nodes["lif"] = nir.LIF(*(np.full(out, v) for v in (2e-4, 3.0, 0.0, 0.7, 0.0)))
    nodes["output"] = nir.Output(np.array(out))
    names = list(nodes)
    edges = list(zip(names, names[1:], strict=False)) + ([("input", "lif")] if skip else [])
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    options = Options("loihi2", 1e-4, 5, 8, InputPopulation("input", shape), None)
    return compose_linear(populations(Lowering(graph, options)))


def only(lowering: Lowering) -> FloatProjection:
    (projection,) = lowering.floats.projections
    return projection


@pytest.mark.parametrize(
    ("chain", "shape", "out", "form"),
    [
        ([CONV], (2, 3, 3), (4, 3, 3), (4, 2, 2, 2)),
        ([POOL, CONV], (2, 6, 6), (4, 3, 3), (4, 2, 6, 6)),
        # padding after a pool that leaves a row out cannot be one convolution
        ([POOL, CONV], (2, 7, 7), (4, 3, 3), (36, 98)),
        ([POOL], (2, 6, 6), (2, 3, 3), (2, 1, 2, 2)),
        ([], (2, 3, 3), (2, 3, 3), (2, 1, 1, 1)),
        (
            [POOL, nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
             nir.Affine(RNG.normal(size=(4, 18)), BIAS)],
            (2, 6, 6), (4,), (4, 72),
        ),
        (
            [nir.Linear(RNG.normal(size=(3, 4))), nir.Affine(RNG.normal(size=(4, 3)), BIAS)],
            (4,), (4,), (4, 4),
        ),
    ],
)  # fmt: skip
def test_what_is_computed_is_kept(
    chain: list[nir.NIRNode], shape: tuple[int, ...], out: tuple[int, ...], form: tuple[int, ...]
) -> None:
    lowering = state(chain, shape, out)
    assert only(lowering).weight.shape == form
    x = np.random.default_rng(1).normal(size=(5, 3, *shape))
    records, peaks = run_float(lowering.floats, x)
    expected = simulate_nir(lowering.graph, x).output
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(records["lif"], expected)
    assert peaks["lif"].current > 0


def test_a_bias_shared_by_two_paths_counts_once() -> None:
    first = nir.Affine(np.eye(4), BIAS)
    lowering = state([first], (4,), (4,), skip=True)
    assert len(lowering.floats.projections) == 2
    # gain = r dt / τ = 1.5
    np.testing.assert_allclose(lowering.floats.population("lif").bias, 1.5 * BIAS)


def test_a_matrix_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_compose_linear, "MAX_DENSE", 10)
    flatten = nir.Flatten({"input": np.array([2, 6, 6])}, 0, -1)
    with pytest.raises(UnsupportedNodeError, match="large a matrix"):
        state([flatten, nir.Linear(np.ones((4, 72)))], (2, 6, 6), (4,))
