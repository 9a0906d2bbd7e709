"""Biases as mantissa and exponent, thresholds and decays as integers."""

from __future__ import annotations

import nir
import numpy as np
import pytest

from neurokd.errors import CapacityError
from neurokd.export import lower
from neurokd.export.pass_thresholds import bias_integers


def test_the_smallest_exponent_that_fits_is_taken() -> None:
    for bias, mantissa, exponent in (
        ([4095.4, -4096.0], [4095, -4096], 0),
        ([4096.0, 3.0], [2048, 2], 1),
        ([524160.0, -64.1], [4095, -1], 7),
    ):
        found, shift = bias_integers("n", np.array(bias))
        assert (found.tolist(), shift) == (mantissa, exponent)
    with pytest.raises(CapacityError, match="'n'.*524160"):
        bias_integers("n", np.array([600000.0]))


def test_the_integers_of_a_neuron() -> None:
    # β = 0.9: dv = round(409.6); θ = 3 in units of the scale
    node = nir.LIF(*(np.full(1, v) for v in (1e-3, 10.0, 0.0, 3.0, 0.0)))
    graph = nir.NIRGraph.from_list(nir.Affine(np.array([[1.0]]), np.array([0.5])), node)
    net = lower(graph, input_bits=1, steps=3)
    neuron = net.population("lif")
    note = net.metadata["lowering"]["populations"]["lif"]
    assert (neuron.du, neuron.dv, neuron.vth) == (4095, 410, round(3 * note["scale"]))
    assert neuron.bias.tolist() == [round(0.5 * 64 * note["scale"])]
    assert note["decay_error"] == pytest.approx(0.4 / 4096, rel=1e-3)
