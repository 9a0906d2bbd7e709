"""Ports: which kernel delivers for a projection, and whether its sums are proven exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_conv import ConvPort
from neurokd.hardware.kernel_dense import DensePort
from neurokd.hardware.kernel_sparse import SparsePort
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection, Projection

Port = ConvPort | DensePort | SparsePort

_INT32_LIMIT = 1 << 31
_CONV_WRAP = 1 << 23
_DENSE_ENOUGH = 8
"""From one synapse in so many on, whole weight rows are faster than single synapses."""


def delivery_bound(projection: Projection, max_message: int) -> int:
    """A bound on |a| of a projection, with its exponent, and on every part of its sums.

    Equation: max over targets of Σ |w| · max message, shifted left by a positive exponent; + 1 for
    each delay, whose sum is rounded down on its own where the exponent is negative.
    """
    weight = np.abs(projection.effective_weight.astype(np.int64))
    if isinstance(projection, ConvProjection):
        return int(weight.reshape(len(weight), -1).sum(axis=1).max(initial=0)) * max_message
    if isinstance(projection, DenseProjection):
        largest = int(weight.sum(axis=1).max(initial=0))
    else:
        largest = int(np.bincount(projection.rows, weights=weight).max(initial=0))
    delays = 1 if projection.delays is None else len(np.unique(projection.delays))
    return (largest * max_message << max(projection.weight_exp, 0)) + delays


def why_not_compiled(network: DeployedNetwork) -> str | None:
    """What in the network the kernels do not compute, or cannot prove to be exact; None if nothing.

    They keep sums in 32 bits and reproduce no overflow of a (a wrap of u they do): |a| of every
    projection, and of all into one population, must stay below 2³¹, of a convolution below 2²³.
    """
    for population in network.populations:
        if not isinstance(population, InputPopulation | CurrentInputPopulation | LIFPopulation):
            return f"population {population.name!r} is a {type(population).__name__}"
        bounds = []
        for projection in network.incoming(population.name):
            bound = delivery_bound(projection, network.population(projection.source).max_message)
            limit = _CONV_WRAP if isinstance(projection, ConvProjection) else _INT32_LIMIT
            if bound >= limit:
                return f"sums of projection {projection.name!r} can reach {bound}"
            bounds.append(bound)
        if sum(bounds) >= _INT32_LIMIT:
            return f"the sums into population {population.name!r} can reach {sum(bounds)}"
    return None


def sends_payloads(population: Population) -> bool:
    """Whether a message can be another number than 1."""
    signed = isinstance(population, InputPopulation) and population.signed
    return signed or population.max_message > 1


def neuron_order(population: Population) -> NDArray[np.int64]:
    """The neurons, by their index in C order, as the kernels keep them.

    Those of images have channels last, so that what one message reaches lies together; the input
    stays as its data is.
    """
    neurons = np.arange(population.size)
    if len(population.shape) != 3 or isinstance(population, InputPopulation):
        return neurons
    return np.ascontiguousarray(neurons.reshape(population.shape).transpose(1, 2, 0)).reshape(-1)


def ports(projection: Projection, source: Population, target: Population) -> list[Port]:
    """The ports of a projection, one for each delay that it has."""
    binary = not sends_payloads(source)
    source_order, target_order = neuron_order(source), neuron_order(target)
    if isinstance(projection, ConvProjection):
        channels, height, width = source.shape
        return [ConvPort.of(projection, (channels, height, width), source_order, binary)]
    if isinstance(projection, DenseProjection):
        weight = projection.effective_weight[np.ix_(target_order, source_order)]
        if projection.delays is None:
            return [DensePort.of(weight, projection.weight_exp, 0, binary)]
        rows, columns = (axis.reshape(-1) for axis in np.indices(weight.shape))
        listed = weight.reshape(-1)
        delays = projection.delays[np.ix_(target_order, source_order)].reshape(-1)
    else:
        place_of_target, place_of_source = np.argsort(target_order), np.argsort(source_order)
        rows = place_of_target[projection.rows]
        columns = place_of_source[projection.columns]
        listed = projection.effective_weight
        delays = projection.delays if projection.delays is not None else np.zeros_like(listed)
    made: list[Port] = []
    for delay in np.unique(delays):
        chosen = (delays == delay) & (listed != 0)
        where = rows[chosen], columns[chosen]
        if chosen.sum() * _DENSE_ENOUGH < source.size * target.size:
            ends = where[0].astype(np.int32), where[1].astype(np.int32)
            exponent = projection.weight_exp
            made.append(SparsePort.of(*ends, listed[chosen], source.size, exponent, int(delay)))
        else:
            matrix = np.zeros((target.size, source.size), dtype=np.int32)
            matrix[where] = listed[chosen]
            made.append(DensePort.of(matrix, projection.weight_exp, int(delay), binary))
    return made
