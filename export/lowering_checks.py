"""What must hold after each pass of the lowering."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurokd.errors import CapacityError
from neurokd.export.linear_maps import Floats
from neurokd.export.lowering import Lowering
from neurokd.export.pass_balance import positions
from neurokd.export.pass_populations import check_populations
from neurokd.export.weight_grid import WeightGrid


def check(name: str, state: Lowering) -> None:
    """Run the invariants of a pass; a pass without any is an error of ours."""
    _CHECKS[name](state)


def _check_network(state: Lowering) -> None:
    """Every projection maps its source to its target, and every number is finite."""
    _check_ends(state)
    found = {p.name for p in state.floats.populations if not p.drive}
    assert found == {p.name for p in state.populations}


def _check_ends(state: Lowering) -> None:
    network = state.floats
    for projection in network.projections:
        source = network.population(projection.source)
        target = network.population(projection.target)
        produced = projection.currents(np.zeros((1, *source.shape)), target.shape)
        assert produced.shape[1:] == target.shape, projection.name
        _finite(projection.name, projection.weight)
    for population in network.populations:
        assert population.bias.shape == population.shape, population.name
        assert population.gain is None, population.name
        _finite(population.name, population.bias)


def _check_split(state: Lowering) -> None:
    assert all(p.decays is None for p in state.floats.populations)
    _check_ends(state)


def _check_calibration(state: Lowering) -> None:
    seen = state.options.calibration
    assert seen is None or seen.shape[1] >= 1


def _check_hosted(state: Lowering) -> None:
    assert (state.hosted is not None) == state.options.by_current


def _check_drives(state: Lowering) -> None:
    """Whatever was driven has no bias of its own any more."""
    _check_ends(state)
    for p in state.floats.projections:
        if state.floats.population(p.source).drive:
            assert not state.floats.population(p.target).bias.any(), p.target


def _check_balance(state: Lowering) -> None:
    """Every way into a population takes as long as the model says."""
    _check_ends(state)
    found = positions(state.floats, state.hosted)
    for p in state.floats.projections:
        if state.floats.population(p.target).drive:
            continue
        assert p.delay == found[p.target] - found[p.source] - 1 + p.lag >= 0, p.name
        assert p.geometry is None or p.delay == 0, p.name


def _check_depths(state: Lowering) -> None:
    for population in state.floats.neurons:
        found = state.depths[population.name]
        assert found >= (0 if population.name == state.hosted or population.drive else 1)
        assert state.start_steps[population.name] in (1, found + 1)


def _check_weights(state: Lowering) -> None:
    """All weights on the grid, every projection of its float's shape."""
    for projection in state.floats.projections:
        if projection.target == state.hosted:
            continue
        grid = WeightGrid(state.options.bits(projection.name))
        weight = state.weights[projection.name]
        assert weight.shape == projection.weight.shape, projection.name
        assert not np.any(weight % grid.step), projection.name
        assert weight.size == 0 or (weight.min() >= -256 and weight.max() <= grid.top)


def _check_neurons(state: Lowering) -> None:
    for population in state.floats.neurons:
        if population.name == state.hosted:
            continue
        neuron = state.neurons[population.name]
        assert neuron.shape == population.shape
        assert neuron.spiking == (population.kind == "spiking")


def _check_host(state: Lowering) -> None:
    assert (state.host is None) == (state.hosted is None) == (state.entrance is None)


def _check_deployed(state: Lowering) -> None:
    deployed = state.deployed
    assert deployed is not None
    floats = [p for p in state.floats.populations if state.hosted is None or p.kind != "input"]
    assert {p.name for p in deployed.populations} == {p.name for p in floats}
    for population in floats:
        # a relay comes as late as its reader allows, not as early as its source does
        late = state.depths[population.name]
        assert population.relay or population.drive or deployed.depth(population.name) == late, (
            population.name
        )
    neurons = sum(p.size for p in floats if not p.relay and not p.drive)
    expected = [p for p in state.populations if state.hosted is None or p.kind != "input"]
    assert neurons == sum(p.size for p in expected)


def _check_report(state: Lowering) -> None:
    assert state.deployed is not None and "lowering" in state.deployed.metadata


def _finite(name: str, values: Floats) -> None:
    if not np.isfinite(values).all():
        raise CapacityError(
            "a weight is not finite", where=f"node {name!r}", remedy="check the graph's parameters"
        )


_CHECKS: dict[str, Callable[[Lowering], None]] = {
    "populations": check_populations,
    "compose_linear": _check_network,
    "split_decays": _check_split,
    "calibration": _check_calibration,
    "hosted_layer": _check_hosted,
    "drives": _check_drives,
    "balance": _check_balance,
    "depth": _check_depths,
    "scale_search": _check_weights,
    "thresholds": _check_neurons,
    "host_layer": _check_host,
    "layout": _check_deployed,
    "compare": _check_report,
}
