"""The ways in which people run a network: who keeps the state, and where the time loop is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

FORMS = (
    "hidden, loop outside",
    "hidden, loop inside",
    "explicit, loop outside",
    "explicit, loop inside",
    "explicit, one sample for all steps",
)
MOST_STATES = 4


class Stage(NamedTuple):
    """Layers, their neurons, and whether the input is added to the spikes."""

    before: nn.Module
    neuron: nn.Module
    skip: bool


class Network(nn.Module):
    """Stages one after the other; ``step`` is one of their steps."""

    def __init__(self, stages: Sequence[Stage], steps: int) -> None:
        super().__init__()
        self.before = nn.ModuleList(stage.before for stage in stages)
        self.neurons = nn.ModuleList(stage.neuron for stage in stages)
        self.skips = [stage.skip for stage in stages]
        self.steps = steps

    def step(self, x: Tensor, states: Sequence[Sequence[Any]]) -> tuple[Tensor, list[list[Any]]]:
        """Spikes and states of this step; a recurrent neuron's spikes are state, too."""
        after = []
        for before, neuron, skip, state in zip(
            self.before, self.neurons, self.skips, states, strict=True
        ):
            returned = neuron(before(x), *state)
            spikes, *rest = returned if state else (returned,)
            after.append([spikes, *rest] if hasattr(neuron, "recurrent") else rest)
            x = spikes + x if skip else spikes
        return x, after

    def rest(self) -> list[list[Any]]:
        """The neurons at zero, and their states."""
        made: list[Any] = [neuron.reset_mem() for neuron in self.neurons]
        return [[state] if isinstance(state, Tensor) else list(state) for state in made]

    def hidden(self) -> list[list[Any]]:
        """No state to pass."""
        return [[] for _ in self.neurons]


class HiddenOutside(Network):
    def forward(self, x: Tensor) -> Tensor:
        return self.step(x, self.hidden())[0]


class HiddenInside(Network):
    def forward(self, x: Tensor) -> Tensor:
        self.rest()
        return torch.stack([self.step(current, self.hidden())[0] for current in x])


class ExplicitInside(Network):
    def forward(self, x: Tensor) -> Tensor:
        states, recorded = self.rest(), []
        for t in range(x.size(0)):
            spikes, states = self.step(x[t], states)
            recorded.append(spikes)
        return torch.stack(recorded, dim=0)


class ExplicitStatic(Network):
    def forward(self, x: Tensor) -> Tensor:
        states, recorded = self.rest(), []
        for _ in range(self.steps):
            spikes, states = self.step(x, states)
            recorded.append(spikes)
        return torch.stack(recorded)


class ExplicitOutside(Network):
    """The caller keeps the states; torch.fx wants each to be an argument of its own."""

    def called(self, x: Tensor, *given: Any) -> tuple[Any, ...]:
        states, at = [], 0
        for state in self.rest():
            states.append(given[at : at + len(state)])
            at += len(state)
        spikes, after = self.step(x, states)
        return (spikes, *(value for state in after for value in state))


_FORWARDS: tuple[Callable[..., Any], ...] = (
    lambda self, x, a: self.called(x, a),
    lambda self, x, a, b: self.called(x, a, b),
    lambda self, x, a, b, c: self.called(x, a, b, c),
    lambda self, x, a, b, c, d: self.called(x, a, b, c, d),
)
_OUTSIDE = [
    type(f"ExplicitOutside{n}", (ExplicitOutside,), {"forward": forward})
    for n, forward in enumerate(_FORWARDS, 1)
]


def in_form(form: str, stages: Sequence[Stage], steps: int) -> nn.Module:
    """The module that runs these stages so; `ValueError` for more states than arguments."""
    if form == "hidden, loop outside" and not any(stage.skip for stage in stages):
        return nn.Sequential(*(part for stage in stages for part in stage[:2]))
    if form == "explicit, loop outside":
        count = sum(map(len, Network(stages, steps).rest()))
        if count > MOST_STATES:
            raise ValueError(f"{count} states")
        made: nn.Module = _OUTSIDE[count - 1](stages, steps)
        return made
    kinds: dict[str, type[Network]] = {
        "hidden, loop outside": HiddenOutside,
        "hidden, loop inside": HiddenInside,
        "explicit, loop inside": ExplicitInside,
        "explicit, one sample for all steps": ExplicitStatic,
    }
    return kinds[form](stages, steps)


def spikes_of(form: str, module: nn.Module, x: Tensor) -> Tensor:
    """The module's own output (T, B, *out) on x (T, B, *shape), its neurons at rest before."""
    for neuron in module.modules():
        if hasattr(neuron, "reset_mem"):
            neuron.reset_mem()
    with torch.no_grad():
        if form == "hidden, loop outside":
            return torch.stack([module(current) for current in x])
        if form == "explicit, loop outside":
            assert isinstance(module, ExplicitOutside)
            states: list[Any] = [None for state in module.rest() for _ in state]
            recorded = []
            for current in x:
                spikes, *states = module(current, *states)
                recorded.append(spikes)
            return torch.stack(recorded)
        made: Tensor = module(x[0] if form.startswith("explicit, one sample") else x)
        return made
