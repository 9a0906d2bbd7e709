"""`DeployedNetwork`: the one integer network that every deployed runtime consumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.errors import ShapeMismatchError, UnsupportedNodeError, UsageError
from neurokd.hardware.population import InputPopulation, Population
from neurokd.hardware.projection import Projection, check_projection


@dataclass(frozen=True)
class DeployedNetwork:
    """Populations joined by projections, all in the chip's integers.

    ``populations`` are kept in topological order. ``steps`` is the number of input steps the
    network was trained for. ``metadata`` is JSON: where the network came from and what lowering
    did; no runtime reads it.

    Time is chip time: an input message of step t reaches a population of depth d at step t + d.

    Raises: `ShapeMismatchError`, `UnsupportedNodeError` (unknown names, a cycle, unequal depths).
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    output: str
    chip: str
    steps: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [p.name for p in self.populations]
        if len(set(names)) != len(names):
            raise UnsupportedNodeError(
                "two populations share a name", where="network", found=", ".join(names)
            )
        inputs = [p for p in self.populations if isinstance(p, InputPopulation)]
        if len(inputs) != 1:
            raise UnsupportedNodeError(
                "a network has exactly one input population",
                where="network",
                found=str([p.name for p in inputs]),
            )
        if self.output not in names or self.output == inputs[0].name:
            raise UnsupportedNodeError(
                "the output is not a neuron population", where="network", found=repr(self.output)
            )
        if self.steps < 1:
            raise UsageError(
                "steps must be positive", where="network", expected="≥ 1", found=str(self.steps)
            )
        shapes = {p.name: p.shape for p in self.populations}
        for projection in self.projections:
            for end in (projection.source, projection.target):
                if end not in shapes:
                    raise UnsupportedNodeError(
                        "a projection names an unknown population",
                        where=f"projection {projection.name!r}",
                        expected=", ".join(names),
                        found=repr(end),
                    )
            check_projection(projection, shapes[projection.source], shapes[projection.target])
        order = self._topological_order()
        object.__setattr__(self, "populations", tuple(self.population(name) for name in order))
        self._check_depths()

    @property
    def input(self) -> InputPopulation:
        """The population where data enters."""
        return next(p for p in self.populations if isinstance(p, InputPopulation))

    def population(self, name: str) -> Population:
        """The population of this name; `UsageError` if there is none."""
        for candidate in self.populations:
            if candidate.name == name:
                return candidate
        raise UsageError(
            "no such population",
            where="network",
            expected=", ".join(p.name for p in self.populations),
            found=repr(name),
        )

    def incoming(self, name: str) -> tuple[Projection, ...]:
        """The projections into a population."""
        return tuple(p for p in self.projections if p.target == name)

    def outgoing(self, name: str) -> tuple[Projection, ...]:
        """The projections out of a population."""
        return tuple(p for p in self.projections if p.source == name)

    def depth(self, name: str) -> int:
        """Delivery steps from the input to this population."""
        return self._depths[self.population(name).name]

    @property
    def latency(self) -> int:
        """Depth of the output: chip steps by which it lags behind the input."""
        return self.depth(self.output)

    def encode(
        self, samples: NDArray[np.floating[Any]], steps: int | None = None
    ) -> NDArray[np.int32]:
        """Float samples (B, *shape) as messages (steps, B, *shape), the same at every step.

        Equation: message = round(x · scale).
        Raises: `ShapeMismatchError`, `UsageError` (a value that the input population cannot send).
        """
        population = self.input
        if samples.shape[1:] != population.shape:
            raise ShapeMismatchError(
                "the data does not fit the network",
                where=f"input {population.name!r}",
                expected=f"(samples, {', '.join(map(str, population.shape))})",
                found=str(samples.shape),
            )
        messages = np.rint(np.asarray(samples, dtype=np.float64) * population.scale)
        bad = ~np.isfinite(messages) | (messages < 0) | (messages > population.max_message)
        if bad.any():
            raise UsageError(
                "the data has a value that the input cannot send",
                where=f"input {population.name!r}",
                expected=f"0 … {population.max_message / population.scale:g}",
                found=f"{float(np.asarray(samples)[bad][0]):g}",
            )
        integers = messages.astype(np.int32)
        return np.broadcast_to(integers, (steps or self.steps, *integers.shape))

    def padded(self, messages: NDArray[np.int32]) -> NDArray[np.int32]:
        """Messages followed by silence for as many steps as the output lags behind.

        Shapes: (T, B, *shape) → (T + latency, B, *shape).
        """
        silence = np.zeros((self.latency, *messages.shape[1:]), dtype=messages.dtype)
        return np.concatenate([messages, silence])

    def save(self, path: str | Path) -> Path:
        """Write the network to one safetensors file, complete or not at all."""
        from neurokd.hardware.network_file import save_network

        return save_network(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> DeployedNetwork:
        """Read what `save` wrote; `FileFormatError` for anything else."""
        from neurokd.hardware.network_file import load_network

        return load_network(Path(path))

    @cached_property
    def _depths(self) -> dict[str, int]:
        depths: dict[str, int] = {}
        for population in self.populations:
            sources = [depths[p.source] for p in self.incoming(population.name)]
            depths[population.name] = 1 + max(sources) if sources else 0
        return depths

    def _topological_order(self) -> list[str]:
        graph = {p.name: [q.source for q in self.incoming(p.name)] for p in self.populations}
        try:
            return list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            raise UnsupportedNodeError(
                "the network has a feedback loop",
                where="network",
                found=" → ".join(error.args[1]),
                remedy="recurrent projections are not supported yet",
            ) from error

    def _check_depths(self) -> None:
        for population in self.populations:
            incoming = self.incoming(population.name)
            if not incoming and not isinstance(population, InputPopulation):
                raise UnsupportedNodeError(
                    "nothing projects into this population", where=f"population {population.name!r}"
                )
            depths = {p.name: self._depths[p.source] for p in incoming}
            if len(set(depths.values())) > 1:
                raise UnsupportedNodeError(
                    "paths of unequal length meet here, so they would arrive in different steps",
                    where=f"population {population.name!r}",
                    found=", ".join(f"{name}: depth {depth}" for name, depth in depths.items()),
                    remedy="delays that balance them are not supported yet",
                )
