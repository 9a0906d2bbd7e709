"""The lower bound on cores, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from neurokd.hardware.chip import ChipSpec
from neurokd.hardware.cores import chips_needed, core_bound, layer_core_bound, synaptic_memory_bits
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection


def lif(name: str, shape: tuple[int, ...]) -> LIFPopulation:
    return LIFPopulation(name, shape, 4095, 0, 1, np.zeros(shape, dtype=np.int32))


def network(side: int, outputs: int) -> DeployedNetwork:
    """A 1 x 1 convolution onto side x side neurons, then a dense readout with 4-bit weights."""
    image = (1, side, side)
    dense = np.ones((outputs, side * side), dtype=np.int32)
    return DeployedNetwork(
        (InputPopulation("in", image), lif("a", image), lif("out", (outputs,))),
        (
            ConvProjection("c", "in", "a", np.ones((1, 1, 1, 1), dtype=np.int32)),
            DenseProjection("d", "a", "out", dense, num_weight_bits=4),
        ),
        "out",
        "loihi1",
        steps=4,
    )


def test_small_networks_need_one_core() -> None:
    bound = core_bound(network(3, 2), ChipSpec.load("loihi1"))
    # 9 + 2 neurons, 1 · 8 + 18 · 4 bits; the input takes no core
    assert (bound.minimum, bound.binding, bound.neurons) == (1, "neither", 11)
    assert bound.synaptic_memory_bits == 80
    assert synaptic_memory_bits(network(3, 2), "out") == 72


def test_neurons_bind() -> None:
    chip = ChipSpec.load("loihi1")
    assert core_bound(network(32, 1), chip).minimum == 2  # 1025 neurons of 1024 a core
    assert core_bound(network(32, 1), chip).binding == "neurons"
    assert layer_core_bound(network(32, 1), "a", chip).minimum == 1


def test_synaptic_memory_binds() -> None:
    # 20 x 20 x 700 weights of 4 bits = 1,120,000 bits > 1,048,576; 1100 neurons.
    bound = core_bound(network(20, 700), ChipSpec.load("loihi2"))
    assert (bound.minimum, bound.binding) == (2, "synaptic memory")
    assert layer_core_bound(network(20, 700), "out", ChipSpec.load("loihi2")).minimum == 2


@pytest.mark.parametrize(("cores", "chips"), [(1, 1), (120, 1), (121, 2), (240, 2)])
def test_chips(cores: int, chips: int) -> None:
    assert chips_needed(cores, ChipSpec.load("loihi2")) == chips
