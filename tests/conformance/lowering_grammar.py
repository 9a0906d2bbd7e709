"""Random NIR graphs whose numbers lie on the chip's grid, so that lowering loses nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

DT = 2.0**-13
"""With a power of two every time constant of these graphs is exact."""
STEPS = 4


@dataclass
class Drawn:
    """A graph as it grows: its nodes, its edges, and the layers of neurons so far."""

    rng: np.random.Generator
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    features: set[str] = field(default_factory=set)

    def add(self, name: str, node: Any, *sources: str) -> str:
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def chance(self, share: float, feature: str) -> bool:
        if self.rng.random() >= share:
            return False
        self.features.add(feature)
        return True

    def weights(self, *shape: int) -> NDArray[np.float64]:
        """Multiples of 1/8 up to 2: on the grid of 8 bits for any A that is a power of two."""
        values = self.rng.integers(-12, 17, size=shape) / 8
        values.flat[0] = 2.0
        return values

    def neurons(self, name: str, shape: tuple[int, ...], *sources: str) -> str:
        """IF or LIF with β of a half; thresholds are dyadic and may differ by powers of two."""
        threshold = np.full(shape, float(self.rng.choice([0.5, 1.0, 2.0])))
        if len(shape) == 1 and self.chance(0.2, "thresholds"):
            threshold *= 2.0 ** self.rng.integers(-1, 1, size=shape)
        zero = np.zeros(shape)
        if self.chance(0.4, "if"):
            node: Any = nir.IF(np.full(shape, 1 / DT), threshold, zero)
        else:
            tau = np.full(shape, 2 * DT)
            if len(shape) == 1 and name != "last" and self.chance(0.15, "decays"):
                tau[::2] = 4 * DT
            leak = zero
            if self.chance(0.15, "v_leak"):
                leak = np.full(shape, 0.25)
            node = nir.LIF(tau, tau / DT, leak, threshold, zero)
        self.shapes[name] = shape
        return self.add(name, node, *sources)


def draw(seed: int) -> tuple[nir.NIRGraph, NDArray[np.int64], set[str]]:
    """A graph, binary input (T, B, *shape), and the features that were drawn.

    From the input an image layer or two, with shortcuts around them; then dense layers, with loops,
    Delays and shortcuts; at the end spikes or an integrator.
    """
    g = Drawn(np.random.default_rng(seed))
    rng = g.rng
    image = g.chance(0.6, "image")
    shape = (2, 4, 3) if image else (6,)
    last = g.add("input", nir.Input(np.array(shape)))
    g.shapes[last] = shape
    before = [last]
    for index in range(int(rng.integers(1, 3)) if image else 0):
        before.append(_image_layer(g, f"image{index}", before))
    if image:
        size = int(np.prod(g.shapes[before[-1]]))
        flat = nir.Flatten({"input": np.array(g.shapes[before[-1]])}, 0, -1)
        name = g.add("flat", flat, before[-1])
        before = [name]
        g.shapes[name] = (size,)
    for index in range(int(rng.integers(1, 4))):
        before.append(_dense_layer(g, f"dense{index}", before))
    _ending(g, before)
    graph = nir.NIRGraph(g.nodes, g.edges, metadata={"dt": DT}, type_check=False)
    x = (rng.random((STEPS, 3, *shape)) < 0.5).astype(np.int64)
    x.flat[0] = 1
    return graph, x, g.features


def _image_layer(g: Drawn, name: str, before: list[str]) -> str:
    source = before[-1]
    channels, height, width = g.shapes[source]
    out = int(g.rng.choice([channels, 2 * channels]))
    groups = 2 if g.chance(0.3, "groups") else 1
    bias = g.rng.integers(-2, 3, size=out) / 8 if g.chance(0.4, "bias") else np.zeros(out)
    kernel = g.weights(out, channels // groups, 3, 3)
    conv = nir.Conv2d((height, width), kernel, (1, 1), (1, 1), (1, 1), groups, bias)
    arriving = [g.add(f"{name}.conv", conv, source)]
    if source != "input" and g.chance(0.5, "loop of images"):
        loop = nir.Conv2d((height, width), g.weights(out, out, 1, 1), 1, 0, 1, 1, np.zeros(out))
        arriving.append(g.add(f"{name}.loop", loop, name))
    if len(before) > 1 and g.chance(0.7, "shortcut of images"):
        earlier = before[-2]
        if g.shapes[earlier][0] == out:
            arriving.append(earlier)
        else:
            skip = nir.Conv2d(
                (height, width),
                g.weights(out, g.shapes[earlier][0], 1, 1),
                1,
                0,
                1,
                1,
                np.zeros(out),
            )
            arriving.append(g.add(f"{name}.skip", skip, earlier))
    return g.neurons(name, (out, height, width), *arriving)


def _dense_layer(g: Drawn, name: str, before: list[str], out: int | None = None) -> str:
    source = before[-1]
    (inputs,) = g.shapes[source]
    size = out or int(g.rng.integers(2, 7))
    bias = g.rng.integers(-2, 3, size=size) / 8 if g.chance(0.3, "bias") else np.zeros(size)
    if g.chance(0.3, "delay"):
        steps = g.rng.integers(0, 4, size=inputs) if g.chance(0.5, "delays") else np.full(inputs, 2)
        source = g.add(f"{name}.delay", nir.Delay(steps * DT), source)
    arriving = [g.add(f"{name}.w", nir.Affine(g.weights(size, inputs), bias), source)]
    if g.chance(0.3, "loop"):
        arriving.append(g.add(f"{name}.loop", nir.Linear(g.weights(size, size)), name))
    if len(before) > 1 and g.chance(0.4, "shortcut"):
        earlier = before[-2]
        skip = nir.Linear(g.weights(size, g.shapes[earlier][0]))
        arriving.append(g.add(f"{name}.skip", skip, earlier))
    return g.neurons(name, (size,), *arriving)


def _ending(g: Drawn, before: list[str]) -> None:
    if g.chance(0.5, "spiking end"):
        last = _dense_layer(g, "last", before, 3)
    else:
        (inputs,) = g.shapes[before[-1]]
        weight = g.add("last.w", nir.Linear(g.weights(3, inputs)), before[-1])
        last = g.add("last", nir.I(np.full(3, 1 / DT)), weight)
    g.add("output", nir.Output(np.array([3])), last)
