"""What must hold after each pass of the lowering."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from neurokd.errors import CapacityError
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering
from neurokd.export.pass_populations import check_populations
from neurokd.export.weight_grid import WeightGrid


def check(name: str, state: Lowering) -> None:
    """Run the invariants of a pass; a pass without any is an error of ours."""
    _CHECKS[name](state)


def _check_network(state: Lowering) -> None:
    """Every projection maps its source to its target, and every number is finite."""
    network = state.floats
    for projection in network.projections:
        source = network.population(projection.source)
        target = network.population(projection.target)
        produced = projection.currents(np.zeros((1, *source.shape)), target.shape)
        assert produced.shape[1:] == target.shape, projection.name
        _finite(projection.name, projection.weight)
    for population in network.populations:
        assert population.bias.shape == population.shape, population.name
        assert population.gain == 1.0 or population.kind == "input", population.name
        _finite(population.name, population.bias)
    assert {p.name for p in network.populations} == {p.name for p in state.populations}


def _check_depths(state: Lowering) -> None:
    for population in state.floats.neurons:
        found = state.depths[population.name]
        assert found >= 1 and state.start_steps[population.name] in (1, found + 1)


def _check_weights(state: Lowering) -> None:
    """All weights on the grid, every projection of its float's shape."""
    grid = WeightGrid(state.options.weight_bits)
    for projection in state.floats.projections:
        weight = state.weights[projection.name]
        assert weight.shape == projection.weight.shape, projection.name
        assert not np.any(weight % grid.step), projection.name
        assert weight.size == 0 or (weight.min() >= -256 and weight.max() <= grid.top)


def _check_neurons(state: Lowering) -> None:
    for population in state.floats.neurons:
        neuron = state.neurons[population.name]
        assert neuron.shape == population.shape
        assert neuron.spiking == (population.kind == "spiking")


def _check_deployed(state: Lowering) -> None:
    deployed = state.deployed
    assert deployed is not None
    for name, found in state.depths.items():
        assert deployed.depth(name) == found, name
    counted = sum(math.prod(p.shape) for p in deployed.populations)
    assert counted == sum(math.prod(p.shape) for p in state.populations)


def _finite(name: str, values: Floats) -> None:
    if not np.isfinite(values).all():
        raise CapacityError(
            "a weight is not finite", where=f"node {name!r}", remedy="check the graph's parameters"
        )


_CHECKS: dict[str, Callable[[Lowering], None]] = {
    "populations": check_populations,
    "compose_linear": _check_network,
    "depth": _check_depths,
    "scale_search": _check_weights,
    "thresholds": _check_neurons,
    "layout": _check_deployed,
}
