"""A network on torch tensors: any network, any device, exact by floats that hold every sum.

Where things are: `synapses_fixed` says what messages deliver, `neurons_fixed` what neurons make of
it; both work on blocks of steps, arrays in, arrays out. This module moves the blocks: populations
one after the other, each over all steps at once, but those that feed back into each other together
and step by step. All arrays of a population are sample-major, (b, T, n).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurokd.hardware.exactness import INT32_LIMIT
from neurokd.hardware.loops import components
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.neurons_fixed import run_block, start_step_of, update_of, zero_state
from neurokd.hardware.observations import Observations
from neurokd.hardware.population import (
    INPUT_KINDS,
    CurrentInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
)
from neurokd.hardware.synapses_fixed import Delivery, Synapses, exact_products

_STATES_AT_ONCE = 1 << 26
"""Neuron states (steps × samples × neurons of a population) held in one tensor: 256 MB."""


class _Arrivals:
    """Synaptic input of a population: what has been delivered for every step so far."""

    def __init__(self, shape: tuple[int, int, int], bound: int, device: torch.device) -> None:
        wide = torch.int32 if bound < INT32_LIMIT else torch.int64
        self._a = torch.zeros(shape, dtype=wide, device=device)
        self._lost: Tensor | None = None

    def add(self, delivery: Delivery, at: int) -> None:
        """Let what was sent from step index ``at`` on arrive, unless it is after the end."""
        batch, time, neurons = self._a.shape
        first = at + 1 + delivery.delay
        if first >= time:
            return
        arriving = delivery.a.reshape(batch, -1, neurons)[:, : time - first]
        window = slice(first, first + arriving.shape[1])
        self._a[:, window] += arriving
        if delivery.lost is not None:
            if self._lost is None:
                self._lost = torch.zeros(self._a.shape, dtype=torch.bool, device=self._a.device)
            lost = delivery.lost.reshape(batch, -1, neurons)
            self._lost[:, window] |= lost[:, : time - first]

    def take(self, at: int, steps: int) -> tuple[Tensor, Tensor | None]:
        """a (b, steps, n) int32 from step index ``at`` on, and where it was wrapped."""
        window = slice(at, at + steps)
        a = self._a[:, window]
        lost = None if self._lost is None else self._lost[:, window]
        if a.dtype == torch.int32:
            return a, lost
        narrow = a.to(torch.int32)
        return narrow, (narrow != a) if lost is None else lost | (narrow != a)


class TorchNetwork:
    """A network on its device, ready to run batches of samples."""

    def __init__(self, network: DeployedNetwork, steps: int, device: torch.device) -> None:
        self._network, self._device, self._time = network, device, steps
        self._components = components(network)
        self._synapses = {
            p.name: Synapses(p, network.population(p.source), network.population(p.target), device)
            for p in network.projections
        }
        largest = max(sum(p.size for p in members) for members in self._components)
        self._samples_at_once = max(1, _STATES_AT_ONCE // (steps * largest))

    def run_batch(self, data: NDArray[Any], first: int, seen: Observations) -> None:
        """Run the samples of ``data`` (T, b, *shape) or, of a constant current, (b, *shape).

        They are the samples of the whole run from ``first`` on.
        """
        # samples first, as everything here has them; a constant current has no other axis
        constant = isinstance(self._network.input, CurrentInputPopulation)
        by_sample = data if constant else np.moveaxis(data, 1, 0)
        with exact_products(self._device):
            for start in range(0, len(by_sample), self._samples_at_once):
                part = by_sample[start : start + self._samples_at_once]
                where = slice(first + start, first + start + len(part))
                self._run_samples(part, where, seen)

    def _run_samples(self, data: NDArray[Any], where: slice, seen: Observations) -> None:
        """All populations, all steps, of a few samples; data (b, [T,] *shape)."""
        sent: dict[str, Tensor] = {}
        flat = data.reshape(*data.shape[: data.ndim - len(self._network.input.shape)], -1)
        values = torch.from_numpy(np.ascontiguousarray(flat, dtype=np.int32)).to(self._device)
        for members in self._components:
            self._run_component(members, values, sent, where, seen)
            for population in members:
                totals = (sent[population.name] != 0).sum(dim=(0, 1)).cpu().numpy()
                seen.messages[population.name] += totals.reshape(population.shape)
            self._drop_spent(sent)

    def _run_component(
        self,
        members: tuple[Population, ...],
        values: Tensor,
        sent: dict[str, Tensor],
        where: slice,
        seen: Observations,
    ) -> None:
        """Populations that depend on each other, block by block; their messages go to ``sent``.

        Without a loop the only block is all of time; in a loop every block is one step.
        """
        if isinstance(members[0], InputPopulation):
            sent[members[0].name] = values
            _keep(seen, members[0].name, "spikes", values, 0, where)
            return
        batch, names = len(values), {p.name for p in members}
        inner = [p for p in self._network.projections if {p.source, p.target} <= names]
        span = 1 if inner else self._time
        arrivals = {p.name: self._arrivals_from_outside(p, names, sent, batch) for p in members}
        updates, states = {}, {}
        for population in members:
            bound = self._bound(population)
            update = update_of(population, bound, self._device, values)
            states[population.name] = zero_state(update, batch, population.size, self._device)
            updates[population.name] = update
            if span < self._time:
                shape = (batch, self._time, population.size)
                sent[population.name] = torch.empty(shape, dtype=update.dtype, device=self._device)
        for at in range(0, self._time, span):
            now: dict[str, Tensor] = {}
            for population in members:
                name = population.name
                if isinstance(population, INPUT_KINDS):
                    a, lost = self._from_data(population, values), None
                else:
                    a, lost = arrivals[name].take(at, span)
                block = run_block(
                    updates[name],
                    states[name],
                    a,
                    first_step=at + 1,
                    start_step=start_step_of(population),
                    keep=seen.wanted(name),
                )
                states[name], now[name] = block.state, block.messages
                if lost is not None:
                    seen.report(name, "a", lost.sum(dim=(0, 2)).tolist(), at)
                for variable, totals in block.lost.items():
                    seen.report(name, variable, totals.tolist(), at)
                if isinstance(population, LIFPopulation) and not population.spiking:
                    fired = block.messages.sum(dim=(0, 2))
                    seen.report(name, "threshold", fired.tolist(), at)
                for variable, course in (block.trace | {"spikes": block.messages}).items():
                    _keep(seen, name, variable, course, at, where)
                if span < self._time:
                    sent[name][:, at : at + span] = block.messages
                else:
                    sent[name] = block.messages
            for projection in inner:
                for delivery in self._deliver(projection.name, now[projection.source]):
                    arrivals[projection.target].add(delivery, at)

    def _arrivals_from_outside(
        self, population: Population, names: set[str], sent: dict[str, Tensor], batch: int
    ) -> _Arrivals:
        """What populations outside the component deliver, at all steps."""
        shape = (batch, self._time, population.size)
        arrivals = _Arrivals(shape, self._bound(population), self._device)
        if self._time > 1:
            for projection in self._network.incoming(population.name):
                if projection.source not in names:
                    # What is sent in the last step arrives after the end.
                    messages = sent[projection.source][:, :-1]
                    for delivery in self._deliver(projection.name, messages):
                        arrivals.add(delivery, 0)
        return arrivals

    def _deliver(self, projection: str, messages: Tensor) -> list[Delivery]:
        synapses = self._synapses[projection]
        source = self._network.population(synapses.projection.source)
        return synapses(messages.reshape(-1, *source.shape))

    def _bound(self, population: Population) -> int:
        """The largest |a| that can arrive in a step."""
        return sum(self._synapses[p.name].bound for p in self._network.incoming(population.name))

    def _from_data(self, population: Population, values: Tensor) -> Tensor:
        """What enters the neurons of an input population: its data, or nothing but its bias."""
        if isinstance(population, CurrentInputPopulation):
            return values.new_zeros(()).expand(len(values), self._time, population.size)
        return values

    def _drop_spent(self, sent: dict[str, Tensor]) -> None:
        """Forget messages that no population is left to receive."""
        for name in sent:
            if all(p.target in sent for p in self._network.outgoing(name)):
                sent[name] = torch.empty(0)


def _keep(
    seen: Observations, name: str, variable: str, course: Tensor, at: int, where: slice
) -> None:
    """Record (b, steps, n) from step index ``at`` on, if it is wanted."""
    if variable in seen.wanted(name):
        part = course.to(torch.int32).transpose(0, 1).cpu().numpy()
        seen.record(name, variable)[at : at + part.shape[0], where] = part
