"""What a network refuses, how deep it is, and how it encodes samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurokd.errors import NeurokdError, ShapeMismatchError, UnsupportedNodeError, UsageError
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import DenseProjection


def lif(name: str, size: int = 2) -> LIFPopulation:
    return LIFPopulation(name, (size,), 4095, 0, 1, np.zeros(size, dtype=np.int32))


def dense(source: str, target: str, shape: tuple[int, int] = (2, 2)) -> DenseProjection:
    return DenseProjection(f"{source}{target}", source, target, np.ones(shape, dtype=np.int32))


def build(populations: list[Any], projections: list[Any], **options: Any) -> DeployedNetwork:
    arguments = {"output": "c", "chip": "loihi2", "steps": 4} | options
    return DeployedNetwork(tuple(populations), tuple(projections), **arguments)


IN = InputPopulation("in", (2,), "graded", 8, scale=255.0)


def test_order_depth_and_neighbours() -> None:
    network = build(
        [lif("c"), lif("a"), IN, lif("b")],
        [dense("b", "c"), dense("in", "a"), dense("in", "b"), dense("a", "c")],
    )
    names = [p.name for p in network.populations]
    assert names[0] == "in" and names[-1] == "c"
    assert [network.depth(name) for name in ("in", "a", "b", "c")] == [0, 1, 1, 2]
    assert network.latency == 2
    assert {p.name for p in network.incoming("c")} == {"bc", "ac"}
    assert [p.name for p in network.outgoing("a")] == ["ac"]
    with pytest.raises(UsageError, match="no such population"):
        network.population("z")


@pytest.mark.parametrize(
    ("populations", "projections", "options", "message"),
    [
        ([IN, lif("c"), lif("c")], [dense("in", "c")], {}, "share a name"),
        ([lif("c")], [], {}, "one input"),
        ([IN, lif("c")], [dense("in", "c")], {"output": "in"}, "output"),
        ([IN, lif("c")], [dense("in", "c")], {"steps": 0}, "steps"),
        ([IN, lif("c")], [dense("in", "x")], {}, "unknown population"),
        ([IN, lif("c", 3)], [dense("in", "c")], {}, "does not fit"),
        ([IN, lif("c")], [dense("in", "c"), dense("c", "c")], {}, "no recurrent projection closes"),
        ([IN, lif("c"), lif("a")], [dense("in", "c"), dense("a", "c")], {}, "nothing projects"),
    ],
)
def test_refused(populations: Any, projections: Any, options: Any, message: str) -> None:
    with pytest.raises(NeurokdError, match=message):
        build(populations, projections, **options)


def test_a_cycle_names_its_populations() -> None:
    with pytest.raises(UnsupportedNodeError, match="a → c → a|c → a → c"):
        build([IN, lif("a"), lif("c")], [dense("in", "a"), dense("a", "c"), dense("c", "a")])


def test_encode_rounds_and_repeats() -> None:
    network = build([IN, lif("c")], [dense("in", "c")])
    messages = network.encode(np.array([[0.0, 1.0], [0.5, 0.1]]))
    assert messages.shape == (4, 2, 2)
    assert messages[0].tolist() == messages[3].tolist() == [[0, 255], [128, 26]]  # 127.5 to even
    assert network.encode(np.zeros((1, 2)), steps=7).shape == (7, 1, 2)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_encode_refuses_what_cannot_be_sent(value: float) -> None:
    network = build([IN, lif("c")], [dense("in", "c")])
    with pytest.raises(UsageError, match="cannot send"):
        network.encode(np.array([[0.0, value]]))
    with pytest.raises(ShapeMismatchError, match="fit"):
        network.encode(np.zeros((3, 5)))


def test_padding_lets_the_last_message_arrive() -> None:
    network = build(
        [IN, lif("a"), lif("c")],
        [dense("in", "a"), dense("a", "c")],
    )
    padded = network.padded(np.ones((3, 5, 2), dtype=np.int32))
    assert padded.shape == (3 + 2, 5, 2)
    assert padded[:3].all() and not padded[3:].any()


@pytest.mark.parametrize("steps", [0, -1, 2.5, True, "4"])
def test_steps_are_positive_integers(steps: Any) -> None:
    network = build([IN, lif("c")], [dense("in", "c")])
    for call in (network.chip_steps, lambda given: network.encode(np.zeros((1, 2)), given)):
        with pytest.raises(UsageError, match="steps must be a positive integer"):
            call(steps)


def test_padding_refuses_what_does_not_fit() -> None:
    network = build([IN, lif("c")], [dense("in", "c")])
    for shape in ((3, 2), (3, 5, 3), (2,), (1, 3, 5, 2)):
        with pytest.raises(ShapeMismatchError, match=r"expected \(steps, samples, 2\)"):
            network.padded(np.zeros(shape, dtype=np.int32))
    with pytest.raises(UsageError, match="positive"):
        network.padded(np.zeros((0, 5, 2), dtype=np.int32))


def test_samples_may_be_lists_and_must_be_numbers() -> None:
    network = build([IN, lif("c")], [dense("in", "c")])
    assert network.encode([[0.0, 1.0]])[0].tolist() == [[0, 255]]  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no array of numbers"):
        network.encode(np.array([["a", "b"]]))
