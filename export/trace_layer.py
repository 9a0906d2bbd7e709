"""What tracing collects before it becomes NIR: layers with their arrays, joined by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import UnsupportedModuleError

Floats = NDArray[np.floating[Any]]
"""float32 or float64. It may be a view of the module, or of one number for all: never written to,
and what is computed from it is asked for in float64."""

Shape = tuple[int, ...]
Kind = Literal[
    "input",
    "linear",
    "conv",
    "scale",
    "multiple",
    "norm",
    "pool",
    "flatten",
    "add",
    "lif",
    "cuba",
    "li",
    "threshold",
    "delay",
    "accumulator",
    "output",
]


@dataclass(frozen=True)
class Described:
    """What a torch module is in NIR; kind "flatten" without pairs is the identity.

    ``weights`` is their number in the torch module, ``added`` what the layer holds beyond them:
    zeros of a grouped, rectangular or diagonal weight made dense, and copies of a shared scalar.
    """

    kind: Kind
    arrays: Mapping[str, Floats] = field(default_factory=dict)
    pairs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: int = 0
    added: int = 0


@dataclass(frozen=True)
class Layer:
    """One operation: its arrays (weight, bias, scale, …) and its integers (stride, kernel, …).

    A ``norm`` is scale · x + shift for each channel; a ``pool`` is a sum over windows times the
    scalar ``scale``; a ``multiple`` is x times the scalar ``factor``, no weight of the module; a
    ``li`` is v ← β v + x; a ``cuba`` filters its input with α before; a ``delay`` is one step.
    ``feeds_back`` names the neurons a recurrent layer returns to. Shapes are those of one sample,
    without time and batch.
    """

    name: str
    path: str
    kind: Kind
    sources: tuple[str, ...]
    arrays: Mapping[str, Floats] = field(default_factory=dict)
    pairs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: int = 0
    added: int = 0
    feeds_back: str = ""


Layers = dict[str, Layer]
"""Layers by name, each after its sources, but for a recurrent layer: after its neurons."""


def consumers(layers: Layers, name: str) -> list[Layer]:
    """The layers that read a layer's output."""
    return [layer for layer in layers.values() if name in layer.sources]


def shape_after(layer: Described | Layer, arriving: Shape) -> Shape:
    """The shape of a layer's output. Shapes: without time and batch."""
    if layer.kind == "linear":
        return (layer.arrays["weight"].shape[0],)
    if layer.kind in ("conv", "pool"):
        kernel = layer.pairs.get("kernel") or layer.arrays["weight"].shape[2:]
        dilation = layer.pairs.get("dilation", (1,) * len(kernel))
        channels = layer.arrays["weight"].shape[0] if layer.kind == "conv" else arriving[0]
        settings = (layer.pairs["stride"], layer.pairs["padding"], kernel, dilation)
        spatial = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, s, p, k, d in zip(arriving[1:], *settings, strict=True)
        )
        return (channels, *spatial)
    if layer.kind == "flatten" and layer.pairs:
        start, end = layer.pairs["dims"]
        merged = 1
        for size in arriving[start : end + 1]:
            merged *= size
        return (*arriving[:start], merged, *arriving[end + 1 :])
    return arriving


def refuse(path: str, reason: str, remedy: str, found: str = "") -> UnsupportedModuleError:
    """The error that names the module, the reason and the remedy."""
    return UnsupportedModuleError(
        reason, where=f"module {path or '(root)'!r}", found=found, remedy=remedy
    )
