"""Networks and files that the netx tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurokd.hardware import DeployedNetwork
from neurokd.hardware.population import (
    CurrentInputPopulation,
    DeltaInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
    SigmaDeltaPopulation,
    SigmaPopulation,
)
from neurokd.hardware.projection import ConvProjection, DenseProjection, Projection

LIF = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1}
SDNN = {"type": "SDNN", "activation": "relu", "vThMant": 3}


def write_file(path: Path, layers: list[dict[str, Any]], **more: Any) -> Path:
    """A netx file as lava-dl writes it; ``type`` becomes a list of one text of ten bytes."""
    with h5py.File(path, "w") as file:
        group = file.create_group("layer")
        for i, layer in enumerate(layers):
            fill(group.create_group(str(i)), layer)
        fill(file, more)
    return path


def fill(group: h5py.Group, fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        if isinstance(value, dict):
            fill(group.create_group(key), value)
        elif key == "type" and group.name.count("/") == 2:
            group.create_dataset(key, (1,), "S10", [value.encode()])
        else:
            group.create_dataset(key, data=value)


def even(generator: np.random.Generator, *shape: int, limit: int = 60) -> Any:
    return 2 * generator.integers(-limit, limit + 1, shape)


def lif_network(seed: int = 0, start: bool = True) -> DeployedNetwork:
    """Graded image → two convolutions (one grouped) → recurrent dense → dense accumulator."""
    generator = np.random.default_rng(seed)
    steps = iter((2, 3, 4, 5)) if start else iter((1, 1, 1, 1))

    def lif(name: str, shape: tuple[int, ...], **changes: Any) -> LIFPopulation:
        bias = generator.integers(-6, 7, shape).astype(np.int32)
        if len(shape) == 3 and name == "one":
            bias = np.broadcast_to(bias[:, :1, :1], shape).astype(np.int32)
        values: dict[str, Any] = {"du": 2000, "dv": 300, "vth": 90, "bias_exp": 6} | changes
        return LIFPopulation(name, shape, bias_mant=bias, start_step=next(steps), **values)

    populations: tuple[Population, ...] = (
        InputPopulation("image", (2, 7, 6), "graded", 4, scale=15.0),
        lif("one", (4, 3, 6)),
        lif("two", (6, 3, 4), du=4095, dv=0),
        lif("three", (9,)),
        lif("four", (5,), du=-1, dv=4096, vth=1 << 17, spiking=False),
    )
    projections: tuple[Projection, ...] = (
        ConvProjection(
            "a", "image", "one", even(generator, 4, 2, 3, 3, limit=5), (2, 1), (0, 1), (1, 1)
        ),
        ConvProjection(
            "b", "one", "two", even(generator, 6, 2, 2, 3), (1, 1), (1, 0), (2, 1), groups=2
        ),
        DenseProjection("c", "two", "three", even(generator, 9, 72), weight_exp=1),
        DenseProjection("d", "three", "three", even(generator, 9, 9), recurrent=True),
        DenseProjection("e", "three", "four", 4 * even(generator, 5, 9, limit=30), weight_exp=-2),
    )
    return DeployedNetwork(populations, projections, "four", "loihi2", steps=9)


def delayed_network(seed: int = 0) -> DeployedNetwork:
    """Constant current → dense with a delay of each synapse → dense with axonal delays."""
    generator = np.random.default_rng(seed)
    zeros = np.zeros(8, np.int32)
    delays = generator.integers(0, 63, (8, 6))
    axonal = np.repeat(generator.integers(0, 9, (4, 1)), 8, axis=1)
    weight = generator.integers(0, 120, (4, 8))
    return DeployedNetwork(
        (
            CurrentInputPopulation("in", (6,), dv=200, vth=20, scale=36.0, offset=-3.0),
            LIFPopulation("mid", (8,), 1000, 100, 60, zeros, bias_exp=6),
            LIFPopulation("out", (4,), 4095, 0, 70, zeros[:4], bias_exp=6),
        ),
        (
            DenseProjection("first", "in", "mid", even(generator, 8, 6), delays=delays),
            DenseProjection("second", "mid", "out", weight, delays=axonal, sign_mode="excitatory"),
        ),
        output="out",
        chip="loihi1",
        steps=70,
    )


def sigma_delta_network(seed: int = 0) -> DeployedNetwork:
    """Delta-coded image → sigma-delta convolution → sigma-delta dense → sigma."""
    generator = np.random.default_rng(seed)
    bias = generator.integers(-20, 20, (3, 4, 4)).astype(np.int32)
    return DeployedNetwork(
        (
            DeltaInputPopulation("in", (2, 6, 6), 2, 4, 6, bits=8, scale=64.0, offset=1.0),
            SigmaDeltaPopulation("one", (3, 4, 4), 5, bias, spike_exp=4, state_exp=6),
            SigmaDeltaPopulation("two", (7,), 1, bias[0].ravel()[:7], spike_exp=4, state_exp=6),
            SigmaPopulation("out", (2,)),
        ),
        (
            ConvProjection("a", "in", "one", even(generator, 3, 2, 3, 3, limit=9)),
            DenseProjection("b", "one", "two", even(generator, 7, 48, limit=9)),
            DenseProjection("c", "two", "out", even(generator, 2, 7, limit=30)),
        ),
        output="out",
        chip="loihi2",
        steps=12,
    )
