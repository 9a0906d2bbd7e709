import itertools
from typing import Any

import numpy as np
import pytest

from neurokd.errors import CapacityError
from neurokd.hardware import ChipSpec, DeployedNetwork, map_to_cores
from neurokd.hardware.core_map import RESOURCES, CoreMap
from neurokd.hardware.core_messages import destinations
from neurokd.hardware.core_slice import Slice, cut, middle, tiles
from neurokd.hardware.cores import core_bound
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import (
    ConvProjection,
    DenseProjection,
    Projection,
    SparseProjection,
)
from neurokd.hardware.synaptic_memory import list_bits, synaptic_need


def lif(name: str, *shape: int) -> LIFPopulation:
    return LIFPopulation(name, shape, 4095, 0, 100, np.zeros(shape, dtype=np.int32))


def dense(name: str, source: str, target: str, out: int, into: int, **more: Any) -> DenseProjection:
    return DenseProjection(name, source, target, np.ones((out, into), dtype=np.int32), **more)


def network(
    populations: list[LIFPopulation], projections: list[Projection], *shape: int
) -> DeployedNetwork:
    return DeployedNetwork(
        (InputPopulation("in", shape), *populations),
        tuple(projections),
        populations[-1].name,
        "loihi1",
        4,
    )


def mlp(inputs: int, hidden: int, outputs: int) -> DeployedNetwork:
    return network(
        [lif("hidden", hidden), lif("out", outputs)],
        [
            dense("first", "in", "hidden", hidden, inputs),
            dense("second", "hidden", "out", outputs, hidden),
        ],
        inputs,
    )


CONVOLUTIONS = [
    {"weight": (6, 4, 3, 3), "padding": (1, 1)},
    {"weight": (6, 4, 3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"weight": (6, 2, 3, 3), "dilation": (2, 1), "groups": 2},
    {"weight": (4, 1, 2, 2), "stride": (2, 2), "groups": 4},
]


def convolution(weight: tuple[int, ...], **options: Any) -> ConvProjection:
    return ConvProjection("conv", "in", "out", np.ones(weight, dtype=np.int32), **options)


def unrolled(conv: ConvProjection, source: tuple[int, ...]) -> dict[tuple[int, ...], list[Any]]:
    """Every synapse of a convolution, found by walking over it: source neuron → its targets."""
    target = conv.output_shape(source)
    channels_in, kernel = conv.weight.shape[1], conv.weight.shape[2:]
    found: dict[tuple[int, ...], list[Any]] = {}
    for out, y, x in np.ndindex(*target):
        group = out // (conv.weight.shape[0] // conv.groups)
        for channel, i, j in np.ndindex(channels_in, *kernel):
            row = y * conv.stride[0] - conv.padding[0] + i * conv.dilation[0]
            column = x * conv.stride[1] - conv.padding[1] + j * conv.dilation[1]
            if 0 <= row < source[1] and 0 <= column < source[2]:
                neuron = (group * channels_in + channel, row, column)
                found.setdefault(neuron, []).append(((out, y, x), (out, channel, i, j)))
    return found


def inside(part: Slice, neuron: tuple[int, ...]) -> bool:
    return all(low <= at < high for at, (low, high) in zip(neuron, part.bounds, strict=True))


@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_conv_need_is_that_of_the_unrolled_synapses(options: dict[str, Any]) -> None:
    conv, source = convolution(**options), (4, 7, 6)
    shape = conv.output_shape(source)
    synapses = unrolled(conv, source)
    for part in cut("out", shape, (max(1, shape[0] // 2), 2, shape[2])):
        lists = {}  # those that a shift makes equal are one: weights, targets relative to the first
        axons = 0
        for neuron, entries in synapses.items():
            kept = [(at, weight) for at, weight in entries if inside(part, at)]
            if not kept:
                continue
            axons += 1
            (_, y, x), _ = kept[0]
            y, x = min(at[1] for at, _ in kept), min(at[2] for at, _ in kept)
            key = (neuron[0], *((o, r - y, c - x, w) for (o, r, c), w in kept))
            lists[key] = len(kept)
        need = synaptic_need(conv, source, part, shape)
        assert need.input_axons == axons
        assert need.memory_bits == int(list_bits(np.array(list(lists.values())), 8).sum())


@pytest.mark.parametrize("options", CONVOLUTIONS)
def test_conv_destinations_are_those_of_the_unrolled_synapses(options: dict[str, Any]) -> None:
    conv, source = convolution(**options), (4, 7, 6)
    shape = conv.output_shape(source)
    parts = cut("out", shape, (max(1, shape[0] // 2), 2, 2))
    expected = np.zeros(source, dtype=np.int64)
    for neuron, entries in unrolled(conv, source).items():
        expected[neuron] = sum(any(inside(part, at) for at, _ in entries) for part in parts)
    np.testing.assert_array_equal(destinations(conv, source, shape, parts), expected)


def test_sparse_need_and_destinations() -> None:
    projection = SparseProjection(
        "p", "in", "out", np.array([0, 0, 3]), np.array([0, 2, 2]), np.array([2, 4, 6])
    )
    first, second = cut("out", (4,), (2,))
    # one synapse of 8 + 6 bits and a header of 10 is one word of 64
    assert synaptic_need(projection, (3,), first, (4,)).input_axons == 2
    assert synaptic_need(projection, (3,), first, (4,)).memory_bits == 128
    assert synaptic_need(projection, (3,), second, (4,)).memory_bits == 64
    assert destinations(projection, (3,), (4,), (first, second)).tolist() == [1, 0, 2]


def test_lists_are_blocks_of_64_in_words() -> None:
    # 64 · 8 + 10 = 522 → 9 words; 36 · 8 + 10 = 298 → 5 words
    assert list_bits(100, 8) == (9 + 5) * 64
    assert list_bits(0, 8) == 0


def test_delays_take_memory() -> None:
    part = Slice("out", ((0, 10),))
    plain = dense("p", "in", "out", 10, 5)
    late = dense("p", "in", "out", 10, 5, delays=np.full((10, 5), 5))
    # 10 · 8 + 10 = 90 → 2 words; 10 · (8 + 3) + 10 = 120 → 2 words; 7 delay bits would be 3
    assert synaptic_need(plain, (5,), part, (10,)).memory_bits == 5 * 128
    assert synaptic_need(late, (5,), part, (10,)).memory_bits == 5 * 128
    much = dense("p", "in", "out", 10, 5, delays=np.full((10, 5), 62))
    assert synaptic_need(much, (5,), part, (10,)).memory_bits == 5 * 192


def check(network: DeployedNetwork, mapped: CoreMap) -> None:
    """Every neuron in exactly one core, every limit kept, no fewer cores than the bound."""
    for population in network.populations[1:]:
        held = np.zeros(population.shape, dtype=int)
        for core in mapped.cores:
            for part in core.slices:
                if part.population == population.name:
                    held[part.index] += 1
        assert (held == 1).all()
    for core in mapped.cores:
        assert all(getattr(core.use, name) <= mapped.limits[name] for name in RESOURCES)
    assert len(mapped.cores) >= core_bound(network, ChipSpec.load(mapped.chip)).minimum


def test_memory_splits_a_dense_population() -> None:
    # 125 targets: 9 + 8 words a list (64 · 8 + 10 and 61 · 8 + 10 bits), 784 lists: 852,992 bits;
    # 143 targets: 9 + 9 + 3 words: 1,053,696 bits, more than 1,048,576
    net = mlp(784, 1000, 10)
    mapped = map_to_cores(net)
    check(net, mapped)
    assert mapped.cores_of["hidden"] == 8
    assert mapped.binding("hidden")[0] == "synaptic_memory_bits"


def test_small_populations_share_a_core() -> None:
    net = mlp(20, 30, 10)
    mapped = map_to_cores(net)
    check(net, mapped)
    (core,) = mapped.cores
    assert [part.population for part in core.slices] == ["hidden", "out"]
    assert (core.use.neurons, core.use.neuron_configurations) == (40, 2)
    assert core.use.input_axons == 20 + 30
    assert core.use.output_axons == 30


def test_output_axons_split_the_source() -> None:
    # every neuron of a reaches each of the 5 cores of b: 5,000 output axons, a core has 4,096
    each = np.arange(1000)
    rows, columns = np.arange(5000), np.tile(each, 5)
    net = network(
        [lif("a", 1000), lif("b", 5000)],
        [
            SparseProjection("p", "in", "a", each, each, np.full(1000, 2)),
            SparseProjection("q", "a", "b", rows, columns, np.full(5000, 2)),
        ],
        1000,
    )
    mapped = map_to_cores(net)
    check(net, mapped)
    assert mapped.cores_of == {"a": 2, "b": 5}
    assert mapped.binding("a") == ("output_axons", 2500, 4096)


def test_a_loop_is_mapped() -> None:
    net = network(
        [lif("a", 1500), lif("b", 10)],
        [
            dense("p", "in", "a", 1500, 5),
            dense("q", "a", "a", 1500, 1500, recurrent=True),
            dense("r", "a", "b", 10, 1500),
            dense("s", "b", "a", 1500, 10, recurrent=True),
        ],
        5,
    )
    check(net, map_to_cores(net))


def test_several_chips() -> None:
    conv = ConvProjection("p", "in", "out", np.ones((200, 1, 3, 3), dtype=np.int32))
    net = network([lif("out", 200, 30, 30)], [conv], 1, 32, 32)
    mapped = map_to_cores(net)
    check(net, mapped)
    assert mapped.chips == 2
    assert {core.chip for core in mapped.cores} == {0, 1}
    assert max(core.index for core in mapped.cores) == 127


def test_what_does_not_fit_is_named_with_numbers() -> None:
    net = mlp(5120, 10, 10)
    with pytest.raises(CapacityError, match="hidden needs 5,120 input axons") as raised:
        map_to_cores(net)
    assert "4,096" in str(raised.value)
    assert "fewer sources" in str(raised.value)


def test_tiles_come_fewest_pieces_first_and_cover() -> None:
    counts = [len(cut("p", (6, 5), tile)) for tile in tiles((6, 5))]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == 30
    for tile in itertools.islice(tiles((6, 5)), 8):
        assert middle("p", (6, 5), tile) in cut("p", (6, 5), tile)
