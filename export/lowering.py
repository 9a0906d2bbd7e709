"""The state that lowering passes from pass to pass: each pass returns a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import nir
import numpy as np
from numpy.typing import NDArray

from neurokd.errors import UnsupportedNodeError
from neurokd.export.float_network import FloatNetwork, FloatPopulation
from neurokd.export.linear_maps import Floats
from neurokd.hardware.host_layer import HostLayer
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.population import CurrentInputPopulation, InputPopulation, LIFPopulation

ScaleMethod = Literal["mse", "percentile"]


@dataclass(frozen=True)
class Options:
    """What the caller asked for, all defaults resolved. ``calibration`` is (T, B, *shape);
    ``weight_bits`` is that of projections without ``layer_bits`` of their own; ``scales`` and
    ``exponents`` are those that are given, not searched. ``by_current``: the host computes the
    first layer, and the currents enter the chip."""

    chip: str
    dt: float
    steps: int
    weight_bits: int
    input: InputPopulation
    calibration: Floats | None
    scales: Mapping[str, float] = field(default_factory=dict)
    exponents: Mapping[str, int] = field(default_factory=dict)
    layer_bits: Mapping[str, int] = field(default_factory=dict)
    scale_method: ScaleMethod = "mse"
    by_current: bool = False

    def bits(self, projection: str) -> int:
        """Weight bits of a projection."""
        return self.layer_bits.get(projection, self.weight_bits)


@dataclass(frozen=True)
class Lowering:
    """A graph on its way to integers; each field is filled by the pass that is named after it.

    ``hosted`` is the population whose currents the host computes. ``weights`` are stored ones,
    before the exponent.
    """

    graph: nir.NIRGraph
    options: Options
    populations: tuple[FloatPopulation, ...] = ()
    network: FloatNetwork | None = None
    hosted: str | None = None
    depths: Mapping[str, int] = field(default_factory=dict)
    start_steps: Mapping[str, int] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    exponents: Mapping[str, int] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    neurons: Mapping[str, LIFPopulation] = field(default_factory=dict)
    host: HostLayer | None = None
    entrance: CurrentInputPopulation | None = None
    deployed: DeployedNetwork | None = None
    report: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def floats(self) -> FloatNetwork:
        """The float network; only passes after compose_linear may ask."""
        assert self.network is not None
        return self.network

    def message_scale(self, population: str) -> float:
        """Integers a message carries for a float of 1: the input's scale; a spike is 1."""
        entrance = self.options.input
        return entrance.scale if population == entrance.name else 1.0

    def largest_message(self, population: str) -> int:
        """The largest integer one neuron of this population sends in a step."""
        entrance = self.options.input
        return entrance.max_message if population == entrance.name else 1

    def noted(self, **entries: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """The report with ``entries`` merged into the populations they name."""
        merged = {name: dict(values) for name, values in self.report.items()}
        for name, values in entries.items():
            merged.setdefault(name, {}).update(values)
        return dict(merged)


def refuse(name: str, reason: str, remedy: str, found: str = "") -> UnsupportedNodeError:
    """The error that names the node, the reason and the remedy."""
    return UnsupportedNodeError(reason, where=f"node {name!r}", found=found, remedy=remedy)
