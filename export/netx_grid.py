"""The grid of netx: biases in steps of 64, the threshold's resolution; no exponents below 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neurokd.errors import UnsupportedNodeError
from neurokd.export.netx_neurons import BIAS_EXP
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import BIAS_MANTISSA_LIMITS, LIFPopulation, Population
from neurokd.hardware.projection import DenseProjection

LARGEST_BIAS = BIAS_MANTISSA_LIMITS[1] << BIAS_EXP


def lowering_for_netx(network: DeployedNetwork, scales: Mapping[str, float]) -> dict[str, Any]:
    """What `lower` has to be given so that netx can say the network; empty if it can already.

    Where a bias is too large the population's scale is lowered until it fits; where a dense
    projection has an exponent below 0, it gets 0 at the same scale, and its weights fewer bits.
    ``scales``: those that the network was lowered with (`chip_scales`).
    """
    given: dict[str, float] = {}
    exponents: dict[str, int] = {}
    for population in network.populations:
        if isinstance(population, LIFPopulation) and population.name in scales:
            largest = int(np.abs(population.bias).max())
            if largest > LARGEST_BIAS:
                given[population.name] = scales[population.name] * LARGEST_BIAS / largest
    for projection in network.projections:
        if isinstance(projection, DenseProjection) and projection.weight_exp < 0:
            if projection.target in scales:
                given.setdefault(projection.target, scales[projection.target])
                exponents[projection.name] = 0
    if not given:
        return {}
    bits = {projection.name: projection.num_weight_bits for projection in network.projections}
    return {"scales": given, "exponents": exponents, "weight_bits": bits}


def on_netx_grid(network: DeployedNetwork) -> tuple[DeployedNetwork, dict[str, int]]:
    """The network with biases that netx can say, and by population the largest change of one.

    Equation: mantissa = round(bias / 64), exponent 6. A bias changes by 32 at most, half of what
    the threshold is given in; it is another network, whose accuracy is its own.
    Units: changes are in those of v.

    Raises: `UnsupportedNodeError` for a bias beyond 4095 · 64.
    """
    changes: dict[str, int] = {}

    def placed(population: Population) -> Population:
        if not isinstance(population, LIFPopulation) or population.bias_exp == BIAS_EXP:
            return population
        mantissas = np.rint(population.bias / (1 << BIAS_EXP)).astype(np.int32)
        if int(np.abs(mantissas).max()) > BIAS_MANTISSA_LIMITS[1]:
            raise UnsupportedNodeError(
                "netx cannot say so large a bias",
                where=f"population {population.name!r}",
                expected=f"≤ {LARGEST_BIAS}",
                found=str(int(np.abs(population.bias).max())),
                remedy="lower the network with a smaller scale of this population",
            )
        change = int(np.abs((mantissas.astype(np.int64) << BIAS_EXP) - population.bias).max())
        if change:
            changes[population.name] = change
        return replace(population, bias_mant=mantissas, bias_exp=BIAS_EXP)

    populations = tuple(placed(population) for population in network.populations)
    return replace(network, populations=populations), changes
