"""What tracing collects before it becomes NIR: layers in float64, joined by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal[
    "input", "linear", "conv", "norm", "pool", "flatten", "add", "lif", "accumulator", "output"
]


@dataclass(frozen=True)
class Layer:
    """One operation: its arrays (weight, bias, scale, …) and its integers (stride, kernel, …).

    A ``norm`` is scale · x + shift for each channel; a ``pool`` is a sum over windows times the
    scalar ``scale``. Shapes are those of one sample, without time and batch.
    """

    name: str
    path: str
    kind: Kind
    sources: tuple[str, ...]
    arrays: Mapping[str, Floats] = field(default_factory=dict)
    pairs: Mapping[str, tuple[int, int]] = field(default_factory=dict)


Layers = dict[str, Layer]
"""Layers by name, each after its sources."""


def consumers(layers: Layers, name: str) -> list[Layer]:
    """The layers that read a layer's output."""
    return [layer for layer in layers.values() if name in layer.sources]
