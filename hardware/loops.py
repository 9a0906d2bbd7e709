"""Loops of a network: populations that feed back into each other have to step together."""

from __future__ import annotations

from graphlib import TopologicalSorter

import numpy as np

from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import Population


def components(network: DeployedNetwork) -> list[tuple[Population, ...]]:
    """Strongly connected components, each after all that it receives from.

    Within one the populations keep the order of the network.
    """
    populations = network.populations
    index = {p.name: i for i, p in enumerate(populations)}
    reaches = np.eye(len(populations), dtype=bool)
    for projection in network.projections:
        reaches[index[projection.source], index[projection.target]] = True
    for k in range(len(populations)):
        reaches |= np.outer(reaches[:, k], reaches[k])
    # a component goes by its first population
    first = (reaches & reaches.T).argmax(axis=1).tolist()
    graph: dict[int, set[int]] = {i: set() for i in first}
    for projection in network.projections:
        source, target = first[index[projection.source]], first[index[projection.target]]
        if source != target:
            graph[target].add(source)
    members: dict[int, list[Population]] = {i: [] for i in first}
    for i, population in zip(first, populations, strict=True):
        members[i].append(population)
    return [tuple(members[i]) for i in TopologicalSorter(graph).static_order()]
