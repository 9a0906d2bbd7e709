"""A network on the compiled kernels: events from population to population, samples in threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokd.hardware.kernel_events import Arrivals, Events, list_bytes, list_integers, spread
from neurokd.hardware.kernel_lif import lif_steps
from neurokd.hardware.kernel_ports import Port, delivery_bound, neuron_order, ports, sends_payloads
from neurokd.hardware.lif_fixed import current_cannot_overflow
from neurokd.hardware.loops import components
from neurokd.hardware.network import DeployedNetwork
from neurokd.hardware.observations import Observations
from neurokd.hardware.population import (
    CurrentInputPopulation,
    InputPopulation,
    LIFPopulation,
    Population,
)

_STATES_AT_ONCE = 1 << 20
"""Steps × samples × neurons of the largest population that a thread works on at a time."""
_BYTE = 255
_NOTHING = np.empty((0, 0, 0), dtype=np.int32)


class CompiledNetwork:
    """A network that `why_not_compiled` has no objection to, ready to run.

    Populations are computed one after the other, each over all steps, but those of a loop together
    and step by step. Samples are split into chunks that ``threads`` threads share; the result does
    not depend on how.
    """

    def __init__(self, network: DeployedNetwork, steps: int, threads: int) -> None:
        self._network, self.steps, self._threads = network, steps, threads
        self.components = components(network)
        self.orders = {p.name: neuron_order(p) for p in network.populations}
        self.ports: dict[str, list[Port]] = {}
        self.lifs = {p.name: _LIF.of(network, p) for p in network.populations if _is_lif(p)}
        for projection in network.projections:
            source = network.population(projection.source)
            target = network.population(projection.target)
            self.ports[projection.name] = ports(projection, source, target)
        self.incoming = {p.name: network.incoming(p.name) for p in network.populations}
        self.spent = _spent(network, self.components)
        largest = max(p.size for p in network.populations)
        self._samples_at_once = max(1, _STATES_AT_ONCE // (steps * largest))

    def run_batch(self, data: NDArray[Any], first: int, seen: Observations) -> None:
        """Run the samples of ``data`` (T, b, *shape) or, of a constant current, (b, *shape).

        They are the samples of the whole run from ``first`` on.
        """
        leading = data.ndim - len(self._network.input.shape)
        flat = data.reshape(*data.shape[:leading], -1)
        samples = flat.shape[leading - 1]
        # as many chunks for each thread, of nearly one size
        share = -(-samples // self._threads)
        at_once = -(-share // -(-share // self._samples_at_once))
        starts = range(0, samples, at_once)

        def run(thread: int) -> list[_Chunk]:
            chunks = []
            for start in starts[thread :: self._threads]:
                chunk = _Chunk(self, flat, slice(start, min(start + at_once, samples)), first, seen)
                chunk.run()
                chunks.append(chunk)
            return chunks

        # Threads end with the batch: a process that forks later has none of them.
        with ThreadPoolExecutor(self._threads) as executor:
            done = [chunk for part in executor.map(run, range(self._threads)) for chunk in part]
        for name, order in self.orders.items():
            totals = np.zeros(order.size, dtype=np.int64)
            totals[order] = sum(chunk.totals[name] for chunk in done)
            seen.messages[name] += totals.reshape(seen.messages[name].shape)
        for name, variable in done[0].overflows:
            lost = np.sum([chunk.overflows[name, variable] for chunk in done], axis=0)
            seen.report(name, variable, lost.tolist(), 0)


def _spent(
    network: DeployedNetwork, components: list[tuple[Population, ...]]
) -> dict[str, list[str]]:
    """Whose messages nobody is left to receive after each component, by its first population."""
    place = {p.name: i for i, members in enumerate(components) for p in members}
    spent: dict[str, list[str]] = {members[0].name: [] for members in components}
    for name, own in place.items():
        last = max([own, *(place[p.target] for p in network.outgoing(name))])
        spent[components[last][0].name].append(name)
    return spent


class _LIF:
    """Parameters of a LIF population as `lif_steps` takes them."""

    def __init__(self, du: int, dv: int, vth: int, start_step: int, in_range: bool) -> None:
        self.du, self.dv, self.vth, self.start_step = du, dv, vth, start_step
        self.in_range = in_range
        self.bias: NDArray[np.int32] | None = None
        self.never_spikes = False

    @classmethod
    def of(cls, network: DeployedNetwork, population: Population) -> _LIF:
        """Of a population in its network, whose projections bound what it receives."""
        if isinstance(population, CurrentInputPopulation):
            # Nothing arrives, so that u stays 0 whatever its decay.
            return cls(4095, population.dv, population.vth, 1, in_range=True)
        assert isinstance(population, LIFPopulation)
        bound = sum(
            delivery_bound(p, network.population(p.source).max_message)
            for p in network.incoming(population.name)
        )
        in_range = current_cannot_overflow(bound, population.du)
        made = cls(population.du, population.dv, population.vth, population.start_step, in_range)
        bias = population.bias.reshape(-1)[neuron_order(population)]
        made.bias = bias.astype(np.int32).reshape(1, -1)
        made.never_spikes = not population.spiking
        return made


class _Chunk:
    """A few samples on their way through the network."""

    def __init__(
        self,
        net: CompiledNetwork,
        data: NDArray[Any],
        where: slice,
        first: int,
        seen: Observations,
    ) -> None:
        self._net, self._data, self._where, self._seen = net, data, where, seen
        self._samples = where.stop - where.start
        self._into = slice(first + where.start, first + where.stop)
        self._events: dict[str, Events] = {}
        self.totals: dict[str, NDArray[np.int64]] = {}
        self.overflows: dict[tuple[str, str], NDArray[np.int64]] = {}

    def run(self) -> None:
        """All populations, all steps."""
        for members in self._net.components:
            for population in members:
                graded = sends_payloads(population)
                self._events[population.name] = Events.empty(
                    self._samples, self._net.steps, population.size, graded
                )
                self.totals[population.name] = np.zeros(population.size, dtype=np.int64)
            if isinstance(members[0], InputPopulation):
                self._list_input(members[0])
            else:
                self._run_component(members)
            for population in members:
                self._finish(population.name)
            for name in self._net.spent[members[0].name]:
                self._events[name] = Events.empty(0, 0, 0, False)

    def _list_input(self, population: InputPopulation) -> None:
        name = population.name
        events = self._events[name]
        small = population.max_value <= _BYTE and population.min_value >= 0
        kind = np.uint8 if small else np.int32
        data = self._data.view(np.uint8) if self._data.dtype == np.bool_ else self._data
        first = self._where.start
        if data.dtype != kind or not data.flags.c_contiguous:
            data, first = np.ascontiguousarray(data[:, self._where], dtype=kind), 0
        list_all = list_bytes if small else list_integers
        lists = events.index, events.count, events.row, events.value
        list_all(data, first, *lists, self.totals[name])

    def _run_component(self, members: tuple[Population, ...]) -> None:
        net, steps = self._net, self._net.steps
        names = {p.name for p in members}
        inner = [p for name in names for p in net.incoming[name] if p.source in names]
        span = 1 if inner else steps
        arrivals = {p.name: self._arrivals(p, names) for p in members}
        states = {p.name: _State(self, p) for p in members}
        for at in range(0, steps, span):
            for population in members:
                states[population.name].advance(arrivals[population.name], at, at + span)
            for projection in inner:
                events = self._events[projection.source]
                for port in net.ports[projection.name]:
                    port.deliver(events, at, at + span, arrivals[projection.target])
        for population in members:
            states[population.name].report()

    def _arrivals(self, population: Population, names: set[str]) -> Arrivals:
        """What populations outside the component deliver, at all steps."""
        arrivals = Arrivals.none(self._samples, self._net.steps, population.size)
        for projection in self._net.incoming[population.name]:
            if projection.source not in names:
                for port in self._net.ports[projection.name]:
                    port.deliver(self._events[projection.source], 0, self._net.steps, arrivals)
        return arrivals

    def _finish(self, name: str) -> None:
        if "spikes" in self._seen.wanted(name):
            events = self._events[name]
            lists = events.index, events.count, events.row, events.value
            record = self._seen.record(name, "spikes")
            spread(*lists, self._net.orders[name], self._into.start, record)


class _State:
    """u and v of a population's samples, and what is noted of them."""

    def __init__(self, chunk: _Chunk, population: Population) -> None:
        self._chunk, self._name = chunk, population.name
        net, samples, neurons = chunk._net, chunk._samples, population.size
        self._lif = net.lifs[population.name]
        self._order = net.orders[population.name]
        self._u = np.zeros((samples, neurons), dtype=np.int32)
        self._v = np.zeros((samples, neurons), dtype=np.int32)
        self._lost = np.zeros(net.steps, dtype=np.int64)
        self._saturated = np.zeros(net.steps, dtype=np.int64)
        wanted = chunk._seen.wanted(population.name)
        shape = (samples, net.steps, neurons)
        self._traces = {
            v: np.empty(shape, dtype=np.int32) if v in wanted else _NOTHING for v in ("u", "v")
        }
        if isinstance(population, CurrentInputPopulation):
            mantissas = chunk._data[chunk._where][:, self._order].astype(np.int32)
            self._bias = mantissas << population.bias_exp
        else:
            assert self._lif.bias is not None
            self._bias = self._lif.bias

    def advance(self, arrivals: Arrivals, first: int, last: int) -> None:
        """Run the steps ``first`` … ``last`` − 1."""
        events = self._chunk._events[self._name]
        lif_steps(
            arrivals.a,
            arrivals.arrived,
            first,
            last,
            self._u,
            self._v,
            self._bias,
            self._lif.du,
            self._lif.dv,
            self._lif.vth,
            self._lif.start_step,
            self._lif.in_range,
            events.index,
            events.count,
            events.row,
            self._chunk.totals[self._name],
            self._traces["u"],
            self._traces["v"],
            self._lost,
            self._saturated,
        )

    def report(self) -> None:
        """Hand on records and overflows, once all steps have been run."""
        chunk, name = self._chunk, self._name
        for variable, trace in self._traces.items():
            if trace.size:
                record = chunk._seen.record(name, variable)
                record[:, chunk._into, self._order] = trace.swapaxes(0, 1)
        chunk.overflows[name, "u"] = self._lost
        chunk.overflows[name, "v"] = self._saturated
        if self._lif.never_spikes:
            chunk.overflows[name, "threshold"] = chunk._events[name].count.sum(axis=0)


def _is_lif(population: Population) -> bool:
    return isinstance(population, LIFPopulation | CurrentInputPopulation)
