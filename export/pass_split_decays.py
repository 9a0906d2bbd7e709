"""Pass: populations whose decays differ are split up, one population for each pair of decays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurokd.export.float_network import Ends, FloatNetwork, FloatPopulation, FloatProjection
from neurokd.export.lowering import Lowering, refuse

MAX_PARTS = 16
"""Populations that one is split into at most: Loihi has 32 compartment configurations a core."""

Parts = Mapping[str, list[tuple[FloatPopulation, NDArray[np.int64]]]]


def split_decays(state: Lowering) -> Lowering:
    """Neurons of one pair of decays (on the 12-bit grid) become a population of their own.

    Lava has one du and one dv a population. Weights from and to the parts are the rows and columns
    of the matrix that was there; a convolution is not split.

    Raises: `UnsupportedNodeError` for too many values, behind or before a convolution, and for the
    output, which is one population.
    """
    network = state.floats
    parts = {p.name: _parts(network, p) for p in network.populations if p.decays is not None}
    if not parts:
        return state
    populations: list[FloatPopulation] = []
    for population in network.populations:
        cut = parts.get(population.name)
        populations.extend([population] if cut is None else [part for part, _ in cut])
    projections = [part for p in network.projections for part in _cut(network, p, parts)]
    notes = {name: {"split_into": [p.name for p, _ in cut]} for name, cut in parts.items()}
    split = FloatNetwork(tuple(populations), tuple(projections), network.output)
    return replace(state, network=split, report=state.noted(**notes))


def _parts(
    network: FloatNetwork, population: FloatPopulation
) -> list[tuple[FloatPopulation, NDArray[np.int64]]]:
    name = population.name
    assert population.decays is not None
    grid = np.rint(4096 * population.decays).reshape(2, -1)
    values, owner = np.unique(grid, axis=1, return_inverse=True)
    owner = owner.ravel()
    around = [p for p in network.projections if name in (p.source, p.target)]
    reason = ""
    if name == network.output:
        reason = "it is the output, which has to be one population"
    elif values.shape[1] > MAX_PARTS:
        reason = f"they are too many to be split into populations (at most {MAX_PARTS})"
    elif any(p.geometry is not None for p in around):
        reason = "a convolution reads it or leads to it, and is not split"
    if values.shape[1] == 1:
        reason = ""
    if reason:
        raise refuse(
            name,
            f"decays differ from neuron to neuron, a population has one in Lava, and {reason}",
            "train with one τ a layer",
            f"{values.shape[1]} different values",
        )
    if values.shape[1] == 1:
        keep, beta = (float(v) for v in population.decays.reshape(2, -1).mean(axis=1))
        whole = replace(population, keep=keep, beta=beta, decays=None)
        return [(whole, np.arange(population.size))]
    result = []
    for index in range(values.shape[1]):
        members = np.flatnonzero(owner == index)
        keep, beta = population.decays.reshape(2, -1)[:, members].mean(axis=1)
        part = replace(
            population,
            name=f"{name}.part{index + 1}",
            shape=(members.size,),
            bias=population.bias.ravel()[members],
            keep=float(keep),
            beta=float(beta),
            decays=None,
        )
        result.append((part, members))
    return result


def _cut(network: FloatNetwork, projection: FloatProjection, parts: Parts) -> list[FloatProjection]:
    """The projection between each part of its source and each part of its target."""
    if projection.source not in parts and projection.target not in parts:
        return [projection]
    ends = []
    for name in (projection.source, projection.target):
        whole = network.population(name)
        ends.append(parts.get(name) or [(whole, np.arange(whole.size))])
    if len(ends[0]) == len(ends[1]) == 1:
        return [projection]
    return [
        _piece(projection, source, target, columns, rows)
        for source, columns in ends[0]
        for target, rows in ends[1]
    ]


def _piece(
    projection: FloatProjection,
    source: FloatPopulation,
    target: FloatPopulation,
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> FloatProjection:
    suffix = ".".join(
        piece.name.rpartition(".")[2]
        for piece, old in ((source, projection.source), (target, projection.target))
        if piece.name != old
    )
    named = replace(
        projection, name=f"{projection.name}.{suffix}", source=source.name, target=target.name
    )
    if projection.ends is None:
        chosen = np.ix_(rows, columns)
        lags = None if projection.lags is None else projection.lags[chosen]
        return replace(named, weight=projection.weight[chosen], lags=lags)
    found_rows, found_columns = projection.ends.rows, projection.ends.columns
    kept = np.isin(found_rows, rows) & np.isin(found_columns, columns)
    # members are in ascending order, so a neuron's place among them is its new number
    ends = Ends(
        np.searchsorted(rows, found_rows[kept]), np.searchsorted(columns, found_columns[kept])
    )
    lags = None if projection.lags is None else projection.lags[kept]
    return replace(named, weight=projection.weight[kept], ends=ends, lags=lags)
