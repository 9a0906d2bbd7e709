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
from neurokd.hardware.fields import is_integer, numbers, use_plain_numbers
from neurokd.hardware.host_layer import HostLayer
from neurokd.hardware.input_population import as_integers
from neurokd.hardware.population import (
    INPUT_KINDS,
    AnyInputPopulation,
    CurrentInputPopulation,
    DeltaInputPopulation,
    Population,
)
from neurokd.hardware.projection import Projection, check_projection


@dataclass(frozen=True)
class DeployedNetwork:
    """Populations joined by projections, all in the chip's integers.

    ``populations`` are kept in topological order. ``steps`` is the number of input steps the
    network was trained for. ``metadata`` is JSON: where the network came from and what lowering
    did; no runtime reads it. ``host``: the linear layer that turns samples into the currents of a
    `CurrentInputPopulation`; only `encode` computes it.

    Time is chip time. The depth of a population is the number of projections on the longest way
    from the input to it, those marked ``recurrent`` left out: what the input sends at step t has
    reached it, by every way that no delay prolongs, by step t + depth. Where ways of unequal
    length meet, the delays that balance them are part of the network; lowering puts them there.

    Raises: `ShapeMismatchError`, `UnsupportedNodeError` (unknown or shared names, a loop that no
    projection marked ``recurrent`` closes, a population that nothing reaches).
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    output: str
    chip: str
    steps: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    host: HostLayer | None = None

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        names = [p.name for p in self.populations]
        if len(set(names)) != len(names):
            raise UnsupportedNodeError(
                "two populations share a name", where="network", found=", ".join(names)
            )
        ways = [p.name for p in self.projections]
        if len(set(ways)) != len(ways):
            raise UnsupportedNodeError(
                "two projections share a name", where="network", found=", ".join(ways)
            )
        inputs = [p for p in self.populations if isinstance(p, INPUT_KINDS)]
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
        if self.host is not None:
            self._check_host(self.host, inputs[0])
        self._input_steps(self.steps)
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
            if projection.target == inputs[0].name:
                raise UnsupportedNodeError(
                    "nothing projects into the input",
                    where=f"projection {projection.name!r}",
                    found=f"target {projection.target!r}",
                )
        order = self._topological_order()
        object.__setattr__(self, "populations", tuple(self.population(name) for name in order))
        self._check_reached()

    @property
    def input(self) -> AnyInputPopulation:
        """The population where data enters."""
        return next(p for p in self.populations if isinstance(p, INPUT_KINDS))

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
        self, samples: NDArray[Any], steps: int | None = None, *, timed: bool = False
    ) -> NDArray[np.int32]:
        """Float samples (B, *shape) as messages (steps, B, *shape), the same at every step.

        Samples that change over time, ``timed``, are (T, B, *shape) and give messages of that
        shape. Of a `CurrentInputPopulation`, which has no time axis, integers (B, *shape).

        Equation: message = round(x · scale + offset); only some populations have an offset. Where
        the network has a host layer, it gives the integers. Samples (B, C, N) fit a population of
        shape (C, 1, N), which is how signals of one axis are laid out.
        Raises: `ShapeMismatchError`, `UsageError` (a value that the input population cannot send,
        other steps than the samples have, or time where the input has none).
        """
        population = self.input
        where = f"input {population.name!r}"
        samples = numbers(where, samples)
        shape = population.shape if self.host is None else self.host.shape
        lead = 2 if timed else 1
        signal = len(shape) == 3 and samples.shape[lead:] == (shape[0], shape[2]) and shape[1] == 1
        if samples.ndim < lead or (samples.shape[lead:] != shape and not signal):
            raise ShapeMismatchError(
                "the data does not fit the network",
                where=where,
                expected=f"({'steps, ' if timed else ''}samples, {', '.join(map(str, shape))})",
                found=str(samples.shape),
            )
        constant = isinstance(population, CurrentInputPopulation)
        if timed and constant:
            raise UsageError(
                "this network's input is a constant current, and the samples change over time",
                where=where,
                expected="samples without a time axis",
                found=str(samples.shape),
            )
        if timed and steps not in (None, len(samples)):
            raise UsageError(
                "the samples have another number of steps",
                where=where,
                expected=str(steps),
                found=str(len(samples)),
            )
        steps = self._input_steps(len(samples) if timed else steps)
        samples = samples.reshape(*samples.shape[:lead], *shape)
        if self.host is not None:
            return self.host.encode(samples)
        values = as_integers(population, samples)
        return values if timed or constant else np.broadcast_to(values, (steps, *values.shape))

    def padded(self, messages: NDArray[np.int32]) -> NDArray[np.int32]:
        """Messages followed by silence for as many steps as the output lags behind.

        Silence is 0, from a delta-coded input the last value held. A constant current has no time
        axis: it is returned as it is, and flows for as many steps as the run takes.

        Shapes: (T, B, *shape) → (T + latency, B, *shape).
        Raises: `ShapeMismatchError`, `UsageError` (not one step).
        """
        population = self.input
        constant = isinstance(population, CurrentInputPopulation)
        axes = messages.shape[: -len(population.shape)]
        if messages.shape[len(axes) :] != population.shape or len(axes) != 2 - constant:
            raise ShapeMismatchError(
                "the messages do not fit the network",
                where=f"input {population.name!r}",
                expected=f"({'' if constant else 'steps, '}samples, "
                f"{', '.join(map(str, population.shape))})",
                found=str(messages.shape),
            )
        if constant:
            return messages
        self._input_steps(len(messages))
        shape = (self.latency, *messages.shape[1:])
        held = isinstance(population, DeltaInputPopulation)
        silence = np.broadcast_to(messages[-1:] if held else messages.dtype.type(0), shape)
        return np.concatenate([messages, silence])

    def chip_steps(self, steps: int | None = None) -> int:
        """Chip steps in which ``steps`` input steps (by default the network's) reach the output."""
        return self._input_steps(steps) + self.latency

    def save(self, path: str | Path) -> Path:
        """Write the network to one safetensors file, complete or not at all."""
        from neurokd.hardware.network_file import save_network

        return save_network(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> DeployedNetwork:
        """Read what `save` wrote; `FileFormatError` for anything else."""
        from neurokd.hardware.network_file import load_network

        return load_network(Path(path))

    def _input_steps(self, steps: int | None) -> int:
        """``steps``, by default the network's; `UsageError` if that is no number of steps."""
        given = self.steps if steps is None else steps
        if not is_integer(given) or given < 1:
            raise UsageError(
                "steps must be a positive integer",
                where="network",
                expected="≥ 1",
                found=repr(given),
            )
        return given

    @cached_property
    def _depths(self) -> dict[str, int]:
        depths: dict[str, int] = {}
        for population in self.populations:
            sources = [depths[p.source] for p in self._forward(population.name)]
            depths[population.name] = 1 + max(sources) if sources else 0
        return depths

    @staticmethod
    def _check_host(host: HostLayer, entrance: AnyInputPopulation) -> None:
        if not isinstance(entrance, CurrentInputPopulation) or entrance.shape != host.target:
            raise ShapeMismatchError(
                "the host layer's currents do not fit the input population",
                where=f"host layer {host.name!r}",
                expected=f"a current input of shape {host.target}",
                found=f"{type(entrance).__name__} of shape {entrance.shape}",
            )

    def _forward(self, name: str) -> list[Projection]:
        return [p for p in self.incoming(name) if not p.recurrent]

    def _topological_order(self) -> list[str]:
        graph = {p.name: [q.source for q in self._forward(p.name)] for p in self.populations}
        try:
            return list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            raise UnsupportedNodeError(
                "the network has a loop that no recurrent projection closes",
                where="network",
                found=" → ".join(error.args[1]),
                remedy="mark the projection that feeds back with recurrent=True",
            ) from error

    def _check_reached(self) -> None:
        for population in self.populations:
            if not self._forward(population.name) and not isinstance(population, INPUT_KINDS):
                raise UnsupportedNodeError(
                    "nothing projects into this population but itself or a later one",
                    where=f"population {population.name!r}",
                )
