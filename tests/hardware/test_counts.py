"""Counts against loops that walk over every synapse."""

from __future__ import annotations

import numpy as np
import pytest

from neurokd.hardware.counts import count, fan_out
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import (
    DeltaInputPopulation,
    InputPopulation,
    LIFPopulation,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection, SparseProjection


def loop_fan_out(conv: ConvProjection, shape: tuple[int, ...]) -> np.ndarray:
    """One for every (output, kernel tap) that reads a position inside the source."""
    reach = np.zeros(shape, dtype=np.int64)
    out, per_group = conv.output_shape(shape), conv.weight.shape[1]
    for o, y, x in np.ndindex(out):
        group = o // (out[0] // conv.groups)
        for c, ky, kx in np.ndindex(conv.weight.shape[1:]):
            row = y * conv.stride[0] - conv.padding[0] + ky * conv.dilation[0]
            column = x * conv.stride[1] - conv.padding[1] + kx * conv.dilation[1]
            if 0 <= row < shape[1] and 0 <= column < shape[2]:
                reach[group * per_group + c, row, column] += 1
    return reach


@pytest.mark.parametrize(
    ("weight", "shape", "options"),
    [
        ((3, 2, 3, 3), (2, 5, 6), {}),
        ((3, 2, 3, 2), (2, 5, 7), {"stride": (2, 3), "padding": (1, 2)}),
        ((4, 1, 2, 3), (2, 6, 7), {"groups": 2, "dilation": (2, 1), "padding": (0, 1)}),
        ((2, 1, 1, 1), (1, 4, 4), {"stride": (3, 2)}),  # positions that no kernel reads
    ],
)
def test_conv_fan_out_equals_the_loop(weight, shape, options) -> None:  # type: ignore[no-untyped-def]
    conv = ConvProjection("c", "a", "b", np.ones(weight, dtype=np.int32), **options)
    np.testing.assert_array_equal(fan_out(conv, shape), loop_fan_out(conv, shape))


def test_a_same_convolution_by_hand() -> None:
    # 3 x 3 over 3 x 3 with padding 1: corners are read by 4 outputs, edges by 6, the centre by 9.
    conv = ConvProjection("c", "a", "b", np.ones((2, 1, 3, 3), dtype=np.int32), padding=(1, 1))
    assert fan_out(conv, (1, 3, 3))[0].tolist() == [[8, 12, 8], [12, 18, 12], [8, 12, 8]]


def test_sparse_fan_out_by_hand() -> None:
    rows, columns = np.array([0, 1, 2, 0]), np.array([5, 5, 5, 2])
    delays = np.array([0, 9, 0, 1])
    projection = SparseProjection("s", "a", "b", rows, columns, np.array([0, 1, 2, 3]), 0, 8)
    assert fan_out(projection, (2, 3)).tolist() == [[0, 0, 1], [0, 0, 3]]
    # a delay is no further synapse
    late = SparseProjection("s", "a", "b", rows, columns, projection.weight, delays=delays)
    assert fan_out(late, (2, 3)).tolist() == [[0, 0, 1], [0, 0, 3]]


def test_graded_messages_count_once_and_driven_inputs_are_updated() -> None:
    network = DeployedNetwork(
        (
            DeltaInputPopulation("in", (2,), vth=2, bits=8),
            SigmaDeltaPopulation("a", (3,), 1, np.zeros(3, dtype=np.int32)),
            SigmaPopulation("out", (1,)),
        ),
        (
            DenseProjection("w", "in", "a", np.full((3, 2), 2), delays=np.array([[0, 1]] * 3)),
            DenseProjection("r", "a", "a", np.zeros((3, 3), dtype=np.int32), recurrent=True),
            SparseProjection(
                "s", "a", "out", np.array([0]), np.array([1]), np.array([1]), sign_mode="excitatory"
            ),
        ),
        "out",
        "loihi2",
        steps=4,
    )
    x = np.zeros((5, 2, 2), dtype=np.int32)
    x[:, 0] = [7, 0]  # one change, of 7
    x[2:, 1] = [-5, 9]  # two changes
    counts = emulate(network, x).counts
    assert counts.populations["in"].spikes == 3
    assert counts.populations["in"].neuron_updates == 2 * 5 * 2
    assert counts.projections["w"].synaptic_operations == 3 * 3
    # sample 0: one change of 14 in each; sample 1: −10 is rectified away, 9 · 2 − 10 comes at 5
    assert counts.populations["a"].spikes == 3 + 3
    assert counts.projections["r"].synaptic_operations == 6 * 3
    assert counts.projections["s"].synaptic_operations == 2
    # σ is sent at every step where it is not 0: from step 3 on in sample 0, after the end in 1
    assert counts.populations["out"].spikes == 3


def test_totals_by_hand() -> None:
    zero = np.zeros(3, dtype=np.int32)
    network = DeployedNetwork(
        (InputPopulation("in", (2,)), LIFPopulation("out", (3,), 4095, 0, 1, zero)),
        (DenseProjection("w", "in", "out", np.array([[1, 0], [0, 0], [5, 5]])),),
        "out",
        "loihi2",
        steps=4,
    )
    messages = {"in": np.array([7, 2]), "out": np.array([1, 0, 3])}
    counts = count(network, messages, steps=5, samples=4)
    assert counts.projections["w"].synaptic_operations == 9 * 3  # zero weights count
    assert counts.populations["out"].neuron_updates == 3 * 5 * 4
    assert (counts.spikes, counts.synaptic_operations, counts.neuron_updates) == (13, 27, 60)
    assert counts.to_dict() == {
        "steps": 5,
        "samples": 4,
        "populations": {
            "in": {"neurons": 2, "spikes": 9, "neuron_updates": 0},
            "out": {"neurons": 3, "spikes": 4, "neuron_updates": 60},
        },
        "projections": {"w": {"source": "in", "target": "out", "synaptic_operations": 27}},
    }
