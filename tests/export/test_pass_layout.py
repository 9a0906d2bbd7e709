"""The integers of the earlier passes arrive in the network unchanged, each where it belongs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from neurokd.errors import ShapeMismatchError, UnsupportedNodeError
from neurokd.export.float_network import (
    ConvGeometry,
    FloatNetwork,
    FloatPopulation,
    FloatProjection,
)
from neurokd.export.lowering import Lowering, Options
from neurokd.export.pass_layout import layout
from neurokd.hardware.emulator import emulate
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import InputPopulation, LIFPopulation
from neurokd.hardware.projection import ConvProjection, DenseProjection

GEOMETRY = ConvGeometry(stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
INPUT, MIDDLE = (4, 6, 5), (2, 4, 3)
"""Heights (6 + 2 − 2) // 2 + 1 = 4, widths 5 − 2·1 = 3."""


def neurons(name: str, shape: tuple[int, ...], vth: int, spiking: bool) -> LIFPopulation:
    """du = 4095: u is the input alone, 64 times; dv = 2048: half of v is kept."""
    bias = np.zeros(shape, dtype=np.int32)
    return LIFPopulation(name, shape, 4095, 2048 if spiking else 0, vth, bias, spiking=spiking)


def state(conv: bool = True, **changes: Any) -> Lowering:
    """What layout is given: an input and two neuron layers, weights on the grid of 7 bits."""
    rng = np.random.default_rng(0)
    first = (2, 2, 2, 2) if conv else (24, 120)
    shapes = {"first": first, "last": (3, 24)}
    weights = {name: 4 * rng.integers(-30, 30, size=size) for name, size in shapes.items()}
    network = FloatNetwork(
        (
            FloatPopulation("input", INPUT, "input", np.zeros(INPUT)),
            FloatPopulation("middle", MIDDLE, "spiking", np.zeros(MIDDLE)),
            FloatPopulation("end", (3,), "accumulator", np.zeros(3)),
        ),
        (
            FloatProjection("first", "input", "middle", weights["first"] / 100, GEOMETRY)
            if conv
            else FloatProjection("first", "input", "middle", weights["first"] / 100),
            FloatProjection("last", "middle", "end", weights["last"] / 100),
        ),
        "end",
    )
    metadata = {"dt": 1e-4, "reset": "zero", "steps": 6, "array": np.ones(2), "none": None}
    entrance = InputPopulation("input", INPUT, "graded", 4, 15.0)
    base = Lowering(
        graph=nir.NIRGraph({}, [], metadata=metadata, type_check=False),
        options=Options("loihi2", 1e-4, 6, 7, entrance, None),
        network=network,
        weights={name: value.astype(np.int32) for name, value in weights.items()},
        neurons={
            "middle": neurons("middle", MIDDLE, 900, True),
            "end": neurons("end", (3,), 131071, False),
        },
        report={"middle": {"scale": 100.0}, "end": {"scale": 100.0, "start_step": 1}},
    )
    return replace(base, **changes)


def laid_out(lowering: Lowering) -> DeployedNetwork:
    deployed = layout(lowering).deployed
    assert deployed is not None
    return deployed


def test_each_projection_becomes_one_of_its_own_form() -> None:
    lowering = state()
    net = laid_out(lowering)
    first, last = net.projections
    assert isinstance(first, ConvProjection) and isinstance(last, DenseProjection)
    assert (first.name, first.source, first.target) == ("first", "input", "middle")
    assert (last.name, last.source, last.target) == ("last", "middle", "end")
    assert (first.stride, first.padding, first.dilation, first.groups) == (
        (2, 1),
        (1, 0),
        (1, 2),
        2,
    )
    assert first.num_weight_bits == last.num_weight_bits == 7
    for projection in net.projections:
        np.testing.assert_array_equal(projection.weight, lowering.weights[projection.name])
    assert net.input is lowering.options.input
    assert [p.name for p in net.populations] == ["input", "middle", "end"]
    assert all(net.population(name) is p for name, p in lowering.neurons.items())
    assert (net.output, net.chip, net.steps) == ("end", "loihi2", 6)


def test_without_geometry_nothing_becomes_a_convolution() -> None:
    net = laid_out(state(conv=False))
    assert [type(p) for p in net.projections] == [DenseProjection, DenseProjection]


def test_the_state_it_was_given_stays_as_it_was() -> None:
    lowering = state()
    result = layout(lowering)
    assert lowering.deployed is None
    assert replace(result, deployed=None) == lowering


def test_metadata_says_where_the_network_came_from() -> None:
    calibration = np.zeros((6, 9, *INPUT))
    options = replace(state().options, calibration=calibration)
    metadata = laid_out(state(options=options)).metadata
    # what is no plain value has no place in JSON
    assert metadata["nir"] == {"dt": 1e-4, "reset": "zero", "steps": 6}
    assert metadata["lowering"] == {
        "dt_s": 1e-4,
        "steps": 6,
        "weight_bits": 7,
        "layer_bits": {},
        "input_bits": 4,
        "input_scale": 15.0,
        "calibration_samples": 9,
        "populations": {"middle": {"scale": 100.0}, "end": {"scale": 100.0, "start_step": 1}},
    }
    assert laid_out(state()).metadata["lowering"]["calibration_samples"] == 0


def test_the_network_computes_with_these_integers() -> None:
    lowering = state()
    rng = np.random.default_rng(1)
    x = rng.integers(0, 16, size=(6, 2, *INPUT)).astype(np.int32)
    run = emulate(laid_out(lowering), x, record=("v", "spikes"))
    # by hand: a spike sent at step t arrives at t + 1, v in units of 1/64
    kernel = torch.from_numpy(lowering.weights["first"]).double()
    matrix = lowering.weights["last"]
    v, total = np.zeros((2, *MIDDLE), dtype=np.int64), np.zeros((2, 3), dtype=np.int64)
    sent, arriving = np.zeros_like(v), np.zeros_like(v)
    fired = 0
    for t, messages in enumerate(x):
        total += 64 * (sent.reshape(2, -1) @ matrix.T)
        v = np.sign(v) * (np.abs(v) * 2048 >> 12) + 64 * arriving
        sent = (v > 64 * 900).astype(np.int64)
        v = np.where(sent, 0, v)
        currents = F.conv2d(
            torch.from_numpy(messages).double(), kernel, None, (2, 1), (1, 0), (1, 2), 2
        )
        arriving = currents.numpy().astype(np.int64)
        np.testing.assert_array_equal(run.records["middle"]["spikes"][t], sent)
        np.testing.assert_array_equal(run.records["middle"]["v"][t], v)
        np.testing.assert_array_equal(run.output[t], total)
        fired += int(sent.sum())
    assert fired > 10 and total.any() and not run.overflows


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"neurons": {"end": neurons("end", (3,), 131071, False)}}, UnsupportedNodeError, "middle"),
        (
            {
                "weights": {
                    "first": np.zeros((2, 2, 2, 2), dtype=np.int32),
                    "last": np.zeros((3, 23), dtype=np.int32),
                }
            },
            ShapeMismatchError,
            "last",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        layout(state(**changes))
