"""Loops: which populations step together, in which order, and what goes round in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.hardware.emulator import emulate
from neurokd.hardware.loops import components
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation, SigmaPopulation
from neurokd.hardware.projection import DenseProjection


def lif(name: str, size: int = 1, vth: int = 10) -> LIFPopulation:
    """It forgets its input at once and keeps v: fires whenever more than ``vth`` arrives."""
    return LIFPopulation(name, (size,), 4095, 4095, vth, np.zeros(size, dtype=np.int32))


def to(source: str, target: str, weight: int = 20, **options: Any) -> DenseProjection:
    """A projection that closes a loop where it goes back in the alphabet."""
    recurrent = source != "in" and target <= source
    return DenseProjection(
        f"{source}{target}", source, target, np.array([[weight]]), recurrent=recurrent, **options
    )


def build(names: str, projections: list[Any], output: str | None = None) -> DeployedNetwork:
    populations = (InputPopulation("in", (1,)), *(lif(name) for name in names))
    return DeployedNetwork(populations, tuple(projections), output or names[-1], "loihi2", steps=4)


def one_spike(steps: int) -> np.ndarray:
    x = np.zeros((steps, 1, 1), dtype=np.int32)
    x[0] = 1
    return x


def spike_steps(network: DeployedNetwork, x: np.ndarray) -> dict[str, list[int]]:
    """Chip steps at which each population spikes."""
    records = emulate(network, x, record=("spikes",)).records
    return {
        name: (1 + np.flatnonzero(values["spikes"])).tolist() for name, values in records.items()
    }


def test_components_are_in_topological_order() -> None:
    network = build(
        "abcdef",
        [
            *(to("in", "a"), to("a", "b"), to("b", "c"), to("c", "b"), to("b", "a")),
            *(to("a", "d"), to("d", "d"), to("c", "e"), to("d", "e"), to("e", "f")),
        ],
    )
    found = [tuple(p.name for p in members) for members in components(network)]
    assert sorted(found) == [("a", "b", "c"), ("d",), ("e",), ("f",), ("in",)]
    assert found.index(("in",)) < found.index(("a", "b", "c")) < found.index(("d",))
    assert found.index(("d",)) < found.index(("e",)) < found.index(("f",))


def test_a_population_excites_itself_one_step_later() -> None:
    network = build("ab", [to("in", "a"), to("a", "a"), to("a", "b")])
    assert spike_steps(network, one_spike(6)) == {
        "in": [1],
        "a": [2, 3, 4, 5, 6],
        "b": [3, 4, 5, 6],
    }
    assert (network.depth("a"), network.depth("b")) == (1, 2)


def test_a_spike_goes_round_between_two_populations() -> None:
    network = build("abc", [to("in", "a"), to("a", "b"), to("b", "a"), to("b", "c")])
    assert spike_steps(network, one_spike(8)) == {
        "in": [1],
        "a": [2, 4, 6, 8],
        "b": [3, 5, 7],
        "c": [4, 6, 8],
    }


def test_a_delay_prolongs_the_way_round() -> None:
    back = to("b", "a", delays=np.array([[2]]))
    network = build("ab", [to("in", "a"), to("a", "b"), back])
    # a at 2, b at 3, and a again at 3 + 1 + 2
    assert spike_steps(network, one_spike(11)) == {"in": [1], "a": [2, 6, 10], "b": [3, 7, 11]}


def test_inhibition_from_behind_silences() -> None:
    # a fires on every input spike, but −20 from b cancels the 20 of the input two steps on
    network = build("ab", [to("in", "a"), to("a", "b"), to("b", "a", weight=-20)])
    x = np.ones((8, 1, 1), dtype=np.int32)
    assert spike_steps(network, x)["a"] == [2, 3, 6, 7]


@pytest.mark.parametrize("weight", [2, -2])
def test_sums_that_feed_themselves_wrap(weight: int) -> None:
    """σ of a loop with gain: σ ← σ + weight · σ a step later."""
    network = DeployedNetwork(
        (InputPopulation("in", (1,)), SigmaPopulation("a", (1,))),
        (to("in", "a", 2), to("a", "a", weight)),
        "a",
        "loihi2",
        steps=4,
    )
    run = emulate(network, one_spike(40))
    sigma, expected = 0, []
    for t in range(40):
        exact = sigma + weight * sigma + (2 if t == 1 else 0)
        sigma = (exact + 2**31) % 2**32 - 2**31
        expected.append(sigma)
    assert run.output.ravel().tolist() == expected
    # −2 only turns the sign of 2 round and round
    assert bool(run.overflows) == (weight == 2)


def test_samples_and_batches_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    sizes = {"in": 4, "a": 6, "b": 5}

    def random(source: str, target: str, **options: Any) -> DenseProjection:
        weight = rng.integers(-60, 100, (sizes[target], sizes[source]))
        return DenseProjection(source + target, source, target, weight, **options)

    network = DeployedNetwork(
        (InputPopulation("in", (4,)), lif("a", 6, vth=50), lif("b", 5, vth=50)),
        (
            random("in", "a"),
            random("a", "b", delays=rng.integers(0, 3, (5, 6))),
            random("b", "a", recurrent=True),
            random("b", "b", recurrent=True, weight_exp=-1),
        ),
        "b",
        "loihi2",
        steps=4,
    )
    x = rng.integers(0, 2, (12, 5, 4))
    whole = emulate(network, x, record=("u", "v", "spikes"))
    assert 0 < whole.records["a"]["spikes"].mean() < 1
    for sample in range(5):
        alone = emulate(network, x[:, sample : sample + 1])
        np.testing.assert_array_equal(alone.output[:, 0], whole.output[:, sample])
    parts = emulate(network, x, record=("u", "v", "spikes"), batch_size=2)
    for name in ("a", "b"):
        for variable in ("u", "v", "spikes"):
            np.testing.assert_array_equal(
                parts.records[name][variable], whole.records[name][variable]
            )
    assert parts.counts == whole.counts
